package command

import (
	"io"
	"log/slog"
)

// NewLogger returns a logger of a command. Its lines look like the command's other messages:
// they begin with its name, after the time if times is set.
func NewLogger(w io.Writer, name string, level slog.Leveler, times bool) *slog.Logger {
	plain := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) > 0 || a.Key != slog.TimeKey || a.Value.Kind() != slog.KindTime {
			return a
		}
		cmd := slog.String("cmd", name)
		if !times {
			return cmd
		}
		return slog.Group("", slog.String(slog.TimeKey, a.Value.Time().Format("2006-01-02T15:04:05.000Z07:00")), cmd)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: plain}))
}
