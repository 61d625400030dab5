package metrics

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apmon-go/apmon/apmon"
)

func TestPublishFunc(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := New()
		c := reg.Counter("c")
		c.Add(1)
		var reports []map[string]float64
		fail := false
		var mu sync.Mutex // guards reports and fail
		p, err := PublishFunc(reg, PublishOptions{ChangesOnly: true}, func(ctx context.Context, params []apmon.Param) error {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > DefaultInterval {
				t.Error(deadline, ok)
			}
			mu.Lock()
			defer mu.Unlock()
			m := map[string]float64{}
			for _, p := range params {
				m[p.Name] = p.Float()
			}
			reports = append(reports, m)
			if len(reports) == 4 {
				panic("oops")
			}
			if fail {
				return errors.New("no network")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := PublishFunc(reg, PublishOptions{}, nil); !errors.Is(err, ErrPublished) {
			t.Error(err)
		}
		if _, err := PublishFunc(New(), PublishOptions{Interval: time.Millisecond}, nil); err == nil {
			t.Error("published each ms")
		}
		time.Sleep(3 * DefaultInterval) // the first after a part of it
		synctest.Wait()
		mu.Lock()
		if len(reports) != 3 || reports[0]["c"] != 1 || len(reports[2]) != 0 || p.Err() != nil {
			t.Errorf("%v, %v", reports, p.Err())
		}
		mu.Unlock()
		time.Sleep(DefaultInterval)
		synctest.Wait()
		if err := p.Err(); err == nil || !strings.Contains(err.Error(), "oops") {
			t.Error(err)
		}
		mu.Lock()
		fail = true
		mu.Unlock()
		time.Sleep(DefaultInterval)
		synctest.Wait()
		if err := p.Err(); err == nil || !strings.Contains(err.Error(), "no network") {
			t.Error(err)
		}
		mu.Lock()
		fail = false
		mu.Unlock()
		c.Add(1)
		if err := p.Stop(t.Context()); err != nil || p.Stop(t.Context()) != nil || reports[len(reports)-1]["c"] != 2 {
			t.Errorf("%v, %v", reports, err)
		}
		n := len(reports)
		time.Sleep(time.Hour)
		if len(reports) != n {
			t.Error("reports after the end")
		}
		again, err := PublishFunc(reg, PublishOptions{}, func(context.Context, []apmon.Param) error { return nil })
		if err != nil || again.Stop(t.Context()) != nil {
			t.Error(err)
		}
	})
}
