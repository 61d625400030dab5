package apmon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/apmon-go/apmon/procinfo"
)

// Accounting is a record of the resources that a job has used, which are charged to
// a user of a group. It is sent as a message to the node "#acc_USER", with times in
// Unix seconds and other values in the units of the parameters of jobs.
type Accounting struct {
	Group, User, JobID string    // all are required
	Start, Stop        time.Time // both are required
	// Unknown values are sent as 0: the receiver drops a record that lacks one.
	CPUMHz              float64        // clock rate of the CPUs; 0 for unknown
	CPUUser, CPUSystem  procinfo.Value // s
	VirtualMemKB, RSSKB procinfo.Value // KiB, the maximum
}

// SendAccounting sends an accounting record. If the rate limit is reached, it waits,
// since the record must not be lost. The error names the missing field, or is that
// of [Client.Send].
func (c *Client) SendAccounting(ctx context.Context, a Accounting) error {
	return c.sender.account(ctx, a)
}

// account is [Client.SendAccounting].
func (s *sender) account(ctx context.Context, a Accounting) error {
	for _, field := range []struct{ name, value string }{{"group", a.Group}, {"user", a.User}, {"job id", a.JobID}} {
		if field.value == "" {
			return fmt.Errorf("apmon: accounting record without %s", field.name)
		}
	}
	if a.Start.IsZero() || a.Stop.IsZero() {
		return errors.New("apmon: accounting record without start or stop")
	}
	if a.Stop.Before(a.Start) {
		return fmt.Errorf("apmon: accounting record stops at %v, before its start at %v", a.Stop.UTC(), a.Start.UTC())
	}
	seconds := func(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
	params := []Param{String("jobid", a.JobID), Float("start", seconds(a.Start)), Float("stop", seconds(a.Stop))}
	for _, v := range []struct {
		name  string
		value procinfo.Value
	}{
		{"cpu_MHz", procinfo.Value{V: a.CPUMHz, OK: a.CPUMHz > 0}},
		{"utime", a.CPUUser}, {"stime", a.CPUSystem}, {"virtualmem", a.VirtualMemKB}, {"rss", a.RSSKB},
	} {
		if !v.value.OK {
			v.value.V = 0
		}
		params = append(params, Float(v.name, v.value.V))
	}
	return s.report(ctx, 0, Message{Cluster: a.Group, Node: "#acc_" + a.User, Params: params})
}

// Account sends the job's accounting record. Group and user are required. Account
// fills in other fields that are zero: the job id is the job's node name, times and
// CPU times come from a sample that it takes, memory is the maximum, and the clock
// rate is that of this host.
func (j *MonitoredJob) Account(ctx context.Context, a Accounting) error {
	s, err := j.Sample()
	if !s.CPUTime.OK || !s.RunTime.OK {
		return errors.Join(fmt.Errorf("apmon: job %s: no accounting record without a sample", j.job.Node), err)
	}
	a.JobID = cmp.Or(a.JobID, j.job.Node)
	if a.Stop.IsZero() {
		a.Stop = time.Now()
	}
	if a.Start.IsZero() {
		a.Start = a.Stop.Add(-time.Duration(s.RunTime.V * float64(time.Second)))
	}
	a.CPUUser, a.CPUSystem = cmp.Or(a.CPUUser, s.CPUUser), cmp.Or(a.CPUSystem, s.CPUSystem)
	a.VirtualMemKB, a.RSSKB = cmp.Or(a.VirtualMemKB, s.MaxVirtualMem), cmp.Or(a.RSSKB, s.MaxRSS)
	if a.CPUMHz == 0 {
		host := procinfo.NewHost(procinfo.DefaultFS(os.Getenv))
		defer host.Close()
		if info, _ := host.General(); info != nil { // after an error, info holds the values that could be read
			a.CPUMHz = info.CPU.MHz.V
		}
	}
	return j.jobs.reporter.sender.account(ctx, a)
}
