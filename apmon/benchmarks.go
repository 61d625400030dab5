package apmon

import (
	"fmt"
	"sync/atomic"

	"github.com/apmon-go/apmon/procinfo"
)

// benchmarks are the results of benchmarks that the program has set.
type benchmarks struct {
	factors atomic.Pointer[procinfo.Factors]
}

func (b *benchmarks) set(name string, factor float64) error {
	for {
		old := b.factors.Load()
		var f procinfo.Factors
		if old != nil {
			f = *old
		}
		if err := f.Set(name, factor); err != nil {
			return fmt.Errorf("apmon: %w", err)
		}
		if b.factors.CompareAndSwap(old, &f) {
			return nil
		}
	}
}

func (b *benchmarks) get() procinfo.Factors {
	if f := b.factors.Load(); f != nil {
		return *f
	}
	return procinfo.Factors{}
}
