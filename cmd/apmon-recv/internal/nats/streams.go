package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/apmon-go/apmon/cmd/apmon-recv/internal/subjects"
)

// streams makes the streams that do not exist, and returns the shortest duplicate window of
// all. A stream that exists stays as it is; the log says how it differs.
func (o *Options) streams(ctx context.Context, js jetstream.JetStream, log *slog.Logger) (window time.Duration, err error) {
	window = o.Window
	for part := range o.Partitions {
		c, err := o.stream(ctx, js, part, log)
		if err != nil {
			return 0, fmt.Errorf("stream %s: %w", o.partition(part), err)
		}
		window = min(window, c.Duplicates)
	}
	return window, nil
}

// stream makes the stream of a partition if it does not exist, and returns its settings.
func (o *Options) stream(ctx context.Context, js jetstream.JetStream, part int, log *slog.Logger) (*jetstream.StreamConfig, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	want := jetstream.StreamConfig{
		Name:       o.partition(part),
		Subjects:   []string{subjects.Root + "." + strconv.Itoa(part) + ".>"},
		Duplicates: o.Window,
		MaxAge:     o.MaxAge,
		MaxBytes:   int64(o.MaxBytes),
		Replicas:   o.Replicas,
	}
	s, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = js.CreateStream(ctx, want)
		if err == nil {
			log.Info("stream created", "stream", want.Name)
		} else if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another receiver was faster
			s, err = js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return nil, err
	}
	have := s.CachedInfo().Config
	if d := differences(&want, &have); len(d) > 0 {
		log.Warn("stream differs from the options and is used as it is", append([]any{"stream", want.Name}, d...)...)
	}
	return &have, nil
}

// differences returns the settings of a stream that are not as wanted, as key and value for
// the log.
func differences(want, have *jetstream.StreamConfig) []any {
	var d []any
	add := func(key string, want, have any) {
		if want != have {
			d = append(d, key, fmt.Sprintf("%v instead of %v", have, want))
		}
	}
	add("subjects", fmt.Sprint(want.Subjects), fmt.Sprint(have.Subjects))
	add("window", want.Duplicates, have.Duplicates)
	add("max-age", want.MaxAge, have.MaxAge)
	add("max-bytes", want.MaxBytes, have.MaxBytes)
	add("replicas", want.Replicas, have.Replicas)
	return d
}
