package conf

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
)

// Loaded is what came of one source.
type Loaded struct {
	Config   Config
	Problems []Problem
	Changed  bool  // it says something new
	Err      error // why there is nothing usable; it names the source
}

// Load reads all sources at once, for 5 s at most, and returns what came of each, in order.
func Load(ctx context.Context, readers []*Reader) []Loaded {
	loaded := make([]Loaded, len(readers))
	var wg sync.WaitGroup
	for i, r := range readers {
		wg.Go(func() { loaded[i] = r.load(ctx) })
	}
	wg.Wait()
	return loaded
}

// LoadAny reads the sources one by one, for 5 s at most each, in random order, until one yields a
// destination, and returns its number and what came of each; those that were
// not read are zero. The number is negative if none did.
func LoadAny(ctx context.Context, readers []*Reader) (int, []Loaded) {
	loaded := make([]Loaded, len(readers))
	for _, i := range rand.Perm(len(readers)) {
		if loaded[i] = readers[i].load(ctx); loaded[i].Err == nil {
			return i, loaded
		}
	}
	return -1, loaded
}

func (r *Reader) load(ctx context.Context) Loaded {
	ctx, stop := context.WithTimeout(ctx, fetchTimeout)
	defer stop()
	c, problems, changed, err := r.Read(ctx)
	if errors.Is(err, ErrNoDestination) {
		err = fmt.Errorf("%s: %w", r.Source.Name, err)
	}
	return Loaded{c, problems, changed, err}
}
