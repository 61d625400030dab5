//go:build darwin || windows

package procinfo

import (
	"github.com/apmon-go/apmon/internal/kernel"

	psdisk "github.com/shirou/gopsutil/v3/disk"
)

// sampleDisks adds up the physical disks of macOS, and the volumes of Windows on
// fixed disks.
func (h *Host) sampleDisks() error {
	all, err := psdisk.IOCounters()
	if err != nil {
		return err
	}
	at := h.clock()
	const kib = 1. / 1024
	var read, written total
	h.disks.begin()
	for name, c := range all {
		d := see(&h.disks, []byte(name), func(*disk) {})
		read.add(&d.read, kernel.Known(c.ReadBytes), at, kib)
		written.add(&d.write, kernel.Known(c.WriteBytes), at, kib)
	}
	end[disk](&h.disks)
	h.System.DiskRead, h.System.DiskWrite = read.value(), written.value()
	return nil
}
