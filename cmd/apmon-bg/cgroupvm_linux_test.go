package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/apmon-go/apmon/internal/testkit"
)

// vmInit is the first process of the machine of TestLongCgroupMemory. It prints the records of
// three jobs, and the cgroups that are left.
const vmInit = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t cgroup2 cg /sys/fs/cgroup
cd /sys/fs/cgroup
echo +memory > cgroup.subtree_control
mkdir job
job() {
	sh -c 'echo $$ > /sys/fs/cgroup/job/cgroup.procs; exec "$@"' sh apmon-bg exec --cgroup --no-send --summary /record -- sh -c "$1"
	echo "record $(cat /record)"
}
job 'dd if=/dev/zero of=/dev/null bs=64M count=1'
echo 60M > job/memory.max
job 'dd if=/dev/zero of=/dev/null bs=200M count=1; sleep 1'
echo max > job/memory.max
sh -c 'echo $$ > /sys/fs/cgroup/job/cgroup.procs; exec sleep 1000' &
while ! grep -q . job/cgroup.procs; do :; done
job 'dd if=/dev/zero of=/dev/null bs=64M count=1'
echo "left $(find job -type d) $(cat job/cgroup.subtree_control)"
poweroff -f
`

// A real kernel counts the memory of a job in cgroups of version 2: the peak between two samples and
// the OOM kills are exact, if no other process is in the cgroup of exec.
func TestLongCgroupMemory(t *testing.T) {
	testkit.SkipLong(t)
	t.Parallel()
	console := boot(t, vmInit)
	records, left := vmRecords(t, console)
	if len(records) != 3 || left != "job" {
		t.Fatalf("%d records, cgroups left: %q; console:\n%s", len(records), left, console)
	}
	show := func(r vmRecord) string { b, _ := json.Marshal(r); return string(b) }
	alone, killed, shared := records[0], records[1], records[2]
	if peak := orNone(alone.Levels.Peak); peak < 64<<10 || peak > 76<<10 || orNone(alone.Totals.OOMKills.Total) != 0 {
		t.Errorf("a job of 64 MiB: %s", show(alone))
	}
	if peak := orNone(killed.Levels.Peak); peak < 50<<10 || peak > 60<<10 || orNone(killed.Totals.OOMKills.Total) != 1 {
		t.Errorf("a job above its limit of 60 MiB: %s", show(killed))
	}
	if m := killed.Resources.Memory; orNone(m.Allocated) != 60<<10 || m.Source == nil || *m.Source != "cgroup memory limit" {
		t.Errorf("the limit of 60 MiB: %s", show(killed))
	}
	if shared.Levels.Peak != nil || shared.Measured.Unknown["cgroup_memory_kb"] == "" || shared.Measured.Means["cpu"] != "the job's own cgroup" {
		t.Errorf("beside another process: %s", show(shared))
	}
	for i, r := range records {
		if orNone(r.Job.ExitCode) != 0 {
			t.Errorf("job %d: %s", i, show(r))
		}
	}
}

// vmRecord is the part of a job's record that TestLongCgroupMemory looks at.
type vmRecord struct {
	Job struct {
		ExitCode *int64 `json:"exit_code"`
	}
	Levels struct {
		Peak *int64 `json:"cgroup_memory_peak_kb"`
	}
	Totals struct {
		OOMKills struct{ Total *int64 } `json:"oom_kills"`
	}
	Resources struct {
		Memory struct {
			Allocated *int64
			Source    *string `json:"allocated_source"`
		} `json:"memory_kb"`
	}
	Measured struct{ Means, Unknown map[string]string }
}

// orNone returns a number of a record, -1 for null.
func orNone(n *int64) int64 {
	if n == nil {
		return -1
	}
	return *n
}

// vmRecords parses the output of vmInit.
func vmRecords(t *testing.T, console []byte) (records []vmRecord, left string) {
	t.Helper()
	for line := range bytes.Lines(console) {
		if text, ok := bytes.CutPrefix(line, []byte("record ")); ok {
			var r vmRecord
			if err := json.Unmarshal(text, &r); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			records = append(records, r)
		} else if text, ok := bytes.CutPrefix(line, []byte("left ")); ok {
			left = string(bytes.TrimSpace(text))
		}
	}
	return records, left
}

// boot runs this program and busybox in a machine with a Linux kernel of its own, emulated, and
// returns the output of its console. The kernel of this machine may have cgroups of version 1 only.
func boot(t *testing.T, init string) (console []byte) {
	t.Helper()
	kernel := os.Getenv("APMON_KERNEL")
	if kernel == "" || runtime.GOARCH != "amd64" {
		t.Skip("APMON_KERNEL is not set to the file of a Linux kernel for amd64")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip(err)
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip(err)
	}
	if f, err := elf.Open(busybox); err != nil || slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Skip("busybox is not static")
	}
	root := t.TempDir()
	for _, dir := range []string{"bin", "proc", "sys", "dev"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "init"), []byte(init), 0o755); err != nil {
		t.Fatal(err)
	}
	initrd := filepath.Join(t.TempDir(), "initrd")
	pack := exec.Command("sh", "-ec", `cp "$1" bin/busybox; cp "$2" bin/apmon-bg; find . | "$1" cpio -o -H newc >"$3"`, "sh", busybox, released(t), initrd)
	pack.Dir = root
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
	defer stop()
	console, err = exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "1024", "-nographic", "-no-reboot",
		"-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 loglevel=1 panic=1").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, console)
	}
	return console
}
