// Package procinfo is what the kernel and the files of the system know of this
// host, read directly on Linux: no process is ever started, and no name is
// looked up in the network.
//
// A Host keeps its files open and remembers the counters of its last sample,
// from which rates and shares come:
//
//	h := procinfo.NewHost(procinfo.DefaultFS(os.Getenv))
//	defer h.Close()
//	for range time.Tick(2 * time.Minute) {
//		if err := h.Sample(nil); err != nil {
//			log.Print(err) // once per cause; the rest of the sample is good
//		}
//		fmt.Println(h.System.Load[0], h.System.Memory.Available)
//		params = h.System.Append(params[:0], nil)
//	}
//
// A [Processes] is the scan of the host's processes. A Host has one of its own,
// and uses another if it is to share it with the jobs of package jobtree, which
// follows trees of processes. Package workdir measures directories.
//
// [System], [General] and [JobSample] are plain structs in which a [Value] may be
// unknown; an unknown value is not sent. One table for each maps their fields to
// parameters; [Metrics] and [Markdown] list them. To add a metric from a file that
// is read already, add a field and a line of the table: the source in that line
// decides what a sample of the host reads. A new file needs a parser in
// internal/kernel, a row in readings (reading.go) and a call in host_linux.go.
//
// # Other systems
//
// macOS, FreeBSD (386, amd64, arm and arm64) and Windows are sampled with
// gopsutil, which is not in a binary for Linux. FS and HOST_PROC have no meaning
// there. Where gopsutil would start a process, the kernel is asked if one plain
// call does; else the value is unknown, as everything is that gopsutil does not
// tell. There are:
//
//   - everywhere: uptime, processes, swap space, used and available memory,
//     shares of CPU time; of [General] all but the caches, Bogomips, CPUsAllowed,
//     MemLimit and Container. Used memory is what is not available. Addresses are
//     those of interfaces that are up and have a hardware address.
//   - macOS: load, CPU in user mode, nice, system and idle, free memory, disks,
//     cores; built without cgo no CPU times, disks and memory but its total and
//     the swap space, and no clock rate of an ARM. No traffic, sockets and states
//     of processes.
//   - FreeBSD: load, CPU as on macOS and in interrupts, free memory, buffers,
//     processes running, sleeping (also for a device), stopped and dead. No
//     traffic, sockets, disks and cores.
//   - Windows: CPU in user mode, system and idle, traffic, TCP sockets with their
//     states, UDP sockets, disks (the volumes with a letter on fixed ones). No
//     load, free memory, states of processes and cores; swap space, which is the
//     page files, not in 32-bit programs.
//
// On other systems there is the host's name, and an error.
package procinfo
