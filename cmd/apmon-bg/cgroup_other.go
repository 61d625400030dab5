//go:build !linux

package main

import "errors"

// ownCgroup is a cgroup created for a job; only Linux has them.
type ownCgroup struct{}

func makeCgroup() (*ownCgroup, error) { return nil, errors.ErrUnsupported }

func (*ownCgroup) path() string { return "" }

func (*ownCgroup) remove() {}
