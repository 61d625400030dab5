package main

import "time"

// progress is the live line of --progress.
type progress struct{}

const progressInterval = time.Second
