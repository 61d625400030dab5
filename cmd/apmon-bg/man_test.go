package main

import (
	"testing"

	"github.com/apmon-go/apmon/cmd/internal/commandtest"
)

// TestManPage keeps packaging/man in step; after a change, run
//
//	go test ./cmd/apmon-bg -run TestManPage -update
func TestManPage(t *testing.T) { commandtest.ManPage(t, newApp(nil, nil, nil)) }
