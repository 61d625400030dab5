//go:build !unix

package main

import (
	"context"
	"errors"
	"io"

	"github.com/apmon-go/apmon/cmd/internal/command"
)

var errNoPidfile = command.Errorf(command.Unavailable, "--pidfile: %w", errors.ErrUnsupported)

type pidfile struct{}

func lockPidfile(context.Context, string, bool) (*pidfile, error) { return nil, errNoPidfile }

func (*pidfile) release() {}

func stopHolder(context.Context, string, io.Writer) error { return errNoPidfile }
