package backoff

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if !Sleep(ctx, time.Millisecond) || time.Since(began) != time.Millisecond {
			t.Errorf("slept %v", time.Since(began))
		}
		if Sleep(ctx, time.Hour) || time.Since(began) != time.Second {
			t.Errorf("slept %v after the end of the context", time.Since(began))
		}
	})
}
