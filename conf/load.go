package conf

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
)

// Loaded is the result of reading one source.
type Loaded struct {
	Config   Config
	Problems []Problem
	Changed  bool  // since the last read
	Err      error // if nothing is usable; names the source
}

// Load reads all sources at once, for at most 5 s, and returns the results in order.
func Load(ctx context.Context, readers []*Reader) []Loaded {
	loaded := make([]Loaded, len(readers))
	var wg sync.WaitGroup
	for i, r := range readers {
		wg.Go(func() { loaded[i] = r.load(ctx) })
	}
	wg.Wait()
	return loaded
}

// LoadAny reads the sources one by one in random order, for at most 5 s each, until one
// yields a destination. It returns the index of that source, or -1 for none, and the
// results; those of sources that were not read are zero.
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
