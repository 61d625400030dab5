// Package procinfo measures this host: load, CPU, memory, network, disks, processes. On
// Linux it reads the files of the kernel directly. It never starts a process, and never
// looks up a name in the network.
//
// A Host keeps its files open, and the counters of its last sample, from which it computes
// rates and shares:
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
// A [Processes] scans the host's processes. A Host has one of its own. To share one scan
// with the jobs of package jobtree, which follows trees of processes, set
// [Host.Processes]. Package workdir measures directories.
//
// [System], [General] and [JobSample] are plain structs in which a [Value] may be
// unknown; an unknown value is not sent. One table for each maps their fields to
// parameters; [Metrics] and [Markdown] list them. The source in a line of the table
// decides which files a sample of the host reads. CONTRIBUTING.md lists the steps to add
// a metric.
//
// # Other systems
//
// macOS, FreeBSD (386, amd64, arm and arm64) and Windows are sampled with gopsutil, which
// is not linked into a binary for Linux. FS and HOST_PROC have no effect there. A value for
// which gopsutil would start a process is read from the kernel if one system call is
// enough, and otherwise unknown, as are all values that gopsutil does not have. The
// following values are known:
//
//   - everywhere: uptime, processes, swap space, used and available memory,
//     shares of CPU time; of [General] all but the caches, Bogomips, CPUsAllowed,
//     MemLimit and Container. Used memory is the total without the available memory.
//     Addresses are those of interfaces that are up and have a hardware address.
//   - macOS: load, CPU in user mode, nice, system and idle, free memory, disks,
//     cores; built without cgo, no CPU times and disks, of memory only the total and
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
// On other systems only the host's name is known, and Sample returns an error.
package procinfo
