//go:build !linux

package main

import "errors"

// ownCgroup is a cgroup that was made for a job; there are none.
type ownCgroup struct{}

func makeCgroup() (*ownCgroup, error) { return nil, errors.ErrUnsupported }

func (*ownCgroup) path() string { return "" }

func (*ownCgroup) remove() {}
