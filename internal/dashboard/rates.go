package dashboard

import "time"

const (
	// sampleEvery is the time between two samples of the counts, and sampleSpan how far they
	// reach back.
	sampleEvery = 10 * time.Second
	sampleSpan  = time.Hour
	// rateOver is the time over which the rate of now is taken.
	rateOver = 10 * time.Second
	// recently is the time over which losses and refusals are trouble.
	recently = 5 * time.Minute
	// sendersEvery is the time between two samples of the senders.
	sendersEvery = time.Minute
)

// sample is the counts at a time.
type sample struct {
	at     time.Time
	totals Totals
	// Of the outputs, by name: datagrams that wait, and those that were dropped.
	queued  map[string]int
	dropped map[string]uint64
	failed  int // outputs that do not work
	// Of the history.
	droppedSeries, droppedPoints uint64
}

// samples are the counts of the last hour, each sampleEvery, and those of the last seconds as
// often as they were read.
type samples struct {
	hour   []sample // the oldest first
	recent []sample // likewise; the last one is that of now
}

// add adds the counts of now.
func (s *samples) add(c sample) {
	if n := len(s.hour); n == 0 || c.at.Sub(s.hour[n-1].at) >= sampleEvery {
		s.hour = append(s.hour, c)
		for len(s.hour) > 1 && c.at.Sub(s.hour[0].at) > sampleSpan {
			s.hour[0] = sample{}
			s.hour = s.hour[1:]
		}
	}
	s.recent = append(s.recent, c)
	// One that is as old as rateOver stays.
	for len(s.recent) > 2 && c.at.Sub(s.recent[1].at) >= rateOver {
		s.recent[0] = sample{}
		s.recent = s.recent[1:]
	}
}

// now returns the last sample.
func (s *samples) now() *sample { return &s.recent[len(s.recent)-1] }

// before returns a sample of about the given time ago, the oldest if there is none.
func (s *samples) before(ago time.Duration) *sample {
	now := s.now().at
	for i := len(s.hour) - 1; i >= 0; i-- {
		if now.Sub(s.hour[i].at) >= ago {
			return &s.hour[i]
		}
	}
	return &s.hour[0]
}

// rate returns how much a count grew from one sample to another, per second.
func rate(from, to *sample, count func(*Totals) uint64) float64 {
	seconds := to.at.Sub(from.at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return grown(count(&from.totals), count(&to.totals)) / seconds
}

// lostRatio returns the part of the datagrams sent from one sample to another that was lost.
func lostRatio(from, to *sample) float64 {
	return ratio(grown(from.totals.Datagrams, to.totals.Datagrams), grown(from.totals.Lost, to.totals.Lost))
}

// grown returns how much a count grew. That of lost datagrams also sinks: when they arrive
// late.
func grown(from, to uint64) float64 {
	if to < from {
		return 0
	}
	return float64(to - from)
}

// ratio returns the part of what was sent that was lost.
func ratio(received, lost float64) float64 {
	if lost <= 0 {
		return 0
	}
	return lost / (lost + received)
}

// graph returns a value for each sample of the last hour and the next.
func (s *samples) graph(f func(from, to *sample) float64) []float64 {
	var values []float64
	for i := 1; i < len(s.hour); i++ {
		values = append(values, f(&s.hour[i-1], &s.hour[i]))
	}
	return values
}

// senderKey identifies a sender.
type senderKey struct {
	address  string
	instance int64 // noInstance for none
}

const noInstance = 1 << 40

func keyOf(s *Sender) senderKey {
	if s.Instance == nil {
		return senderKey{s.Address, noInstance}
	}
	return senderKey{s.Address, int64(*s.Instance)}
}

type senderCounts struct{ received, lost, refused uint64 }

type senderSample struct {
	at     time.Time
	counts map[senderKey]senderCounts
}

// senderRates are the counts of each sender in the last minutes.
type senderRates struct {
	samples []senderSample // the oldest first
	lossy   map[senderKey]time.Time
}

// due reports whether senders should be sampled.
func (r *senderRates) due(now time.Time) bool {
	n := len(r.samples)
	return n == 0 || now.Sub(r.samples[n-1].at) >= sendersEvery
}

// fill sets what follows from the samples, and adds one if it is due: then it returns true.
func (r *senderRates) fill(now time.Time, senders []Sender) bool {
	for i := range senders {
		s := &senders[i]
		key := keyOf(s)
		if sample, old := r.of(key, now, sendersEvery); sample != nil {
			// A sender that did not exist then has sent all of it since.
			if seconds := now.Sub(sample.at).Seconds(); seconds >= 1 {
				s.Rate = grown(old.received, s.Received) / seconds
			}
		} else if seconds := s.LastHeard.Sub(s.FirstHeard).Seconds(); seconds >= 1 {
			s.Rate = float64(s.Received) / seconds
		}
		_, old := r.of(key, now, recently)
		lost := grown(old.lost, s.Lost)
		s.LostRatio = ratio(grown(old.received, s.Received), lost)
		s.Lossy = lost >= 2 && s.LostRatio > 0.01
	}
	if !r.due(now) {
		return false
	}
	lossy := make(map[senderKey]time.Time)
	counts := make(map[senderKey]senderCounts, len(senders))
	for i := range senders {
		s := &senders[i]
		key := keyOf(s)
		counts[key] = senderCounts{s.Received, s.Lost, s.Refused}
		if s.Lossy {
			if lossy[key] = now; !r.lossy[key].IsZero() {
				lossy[key] = r.lossy[key]
			}
		}
	}
	r.lossy = lossy
	r.samples = append(r.samples, senderSample{now, counts})
	for len(r.samples) > 1 && now.Sub(r.samples[1].at) >= recently {
		r.samples = r.samples[1:]
	}
	return true
}

// of returns the sample of about the given time ago, and the counts of a sender in it. It is nil
// without samples.
func (r *senderRates) of(key senderKey, now time.Time, ago time.Duration) (*senderSample, senderCounts) {
	for i := len(r.samples) - 1; i >= 0; i-- {
		if s := &r.samples[i]; i == 0 || now.Sub(s.at) >= ago {
			return s, s.counts[key]
		}
	}
	return nil, senderCounts{}
}
