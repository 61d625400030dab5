// Jobwrapper runs a command, reports its resources and those of all its children, and writes
// the record of the job to standard error:
//
//	go run ./examples/jobwrapper -d 127.0.0.1:8884 -n 123456 sh -c 'make -j4'
//
// It exits with the exit status of the command, even if monitoring fails. "apmon-bg exec" does
// more: it also handles terminals, process groups and orphans that outlive the command.
// Jobs are followed on Linux only.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/apmon-go/apmon/apmon"
	"github.com/apmon-go/apmon/conf"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

// run returns the exit status: that of the command, 64 for wrong usage, or 127 if the command
// cannot be started.
func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("jobwrapper", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dest := flags.String("d", "127.0.0.1:8884", "report to this `destination`, host:port")
	cluster := flags.String("c", "MySite_Jobs", "`cluster` of the reports")
	node := flags.String("n", "", "`node` of the reports (default HOST_PID)")
	interval := flags.Duration("interval", time.Minute, "report this often")
	if err := flags.Parse(args); err != nil || flags.NArg() == 0 {
		if err == nil {
			fmt.Fprintln(stderr, "jobwrapper: no command")
		}
		return 64
	}

	// Children whose parent has ended become ours, so that their CPU time is not lost.
	subreaper := becomeSubreaper()
	cmd := exec.Command(flags.Arg(0), flags.Args()[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(stderr, "jobwrapper:", err)
		return 127
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // it fails only if the command has ended
		}
	}()

	// Until Wait the command has its pid, even if it has ended.
	end, err := monitor(*dest, apmon.Job{
		PID: cmd.Process.Pid, Cluster: *cluster, Node: *node, Interval: *interval,
		Launcher: apmon.JobLauncher{ChildOfThisProcess: subreaper},
	}, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "jobwrapper: no monitoring:", err)
	}
	if err := cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		fmt.Fprintln(stderr, "jobwrapper:", err)
	}
	exit := apmon.JobExit{Code: cmd.ProcessState.ExitCode()}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		exit = apmon.JobExit{Signal: int(status.Signal())}
	}
	if end != nil {
		end(exit)
	}
	if exit.Signal != 0 {
		return 128 + exit.Signal // like a shell
	}
	return exit.Code
}

// monitor reports the job in the background. The function that it returns makes the last
// report and writes the record.
func monitor(dest string, job apmon.Job, stderr io.Writer) (end func(apmon.JobExit), err error) {
	var cfg conf.Config
	if err := cfg.AddLine(dest); err != nil {
		return nil, err
	}
	client, err := apmon.New(cfg, apmon.Options{WithoutHost: true}) // apmon-bg reports the host
	if err != nil {
		return nil, err
	}
	j, err := client.AddJob(job)
	if err == nil {
		err = client.Monitor(context.Background())
	}
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return func(exit apmon.JobExit) {
		defer client.Close()
		ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		if err := j.End(ctx, exit); err != nil {
			fmt.Fprintln(stderr, "jobwrapper: last report:", err)
		}
		encoder := json.NewEncoder(stderr)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(j.Record())
	}, nil
}
