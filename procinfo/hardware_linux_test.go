package procinfo

import "testing"

// The hardware is a part of the general values. The quota is not mixed with the affinity.
func TestHardware(t *testing.T) {
	t.Parallel()
	for tree, want := range map[string]struct{ sockets, quota, allowed Value }{
		"x86":       {Known(1), Known(1.5), Known(1.5)},
		"arm":       {Known(1), Value{}, Known(3)},
		"container": {Value{}, Value{}, Known(2)},
	} {
		h := NewHost(DirFS("testdata/" + tree))
		defer h.Close()
		all, _ := h.General() // some files are missing
		g, _ := h.Hardware()
		if g.CPU.Sockets != want.sockets || g.CPUQuota != want.quota || g.CPUsAllowed != want.allowed {
			t.Errorf("%s: sockets %v, quota %v, allowed %v", tree, g.CPU.Sockets, g.CPUQuota, g.CPUsAllowed)
		}
		if g.CPU != all.CPU || g.TotalMem != all.TotalMem || g.MemLimit != all.MemLimit || g.KernelVersion != all.KernelVersion {
			t.Errorf("%s: %+v is not a part of %+v", tree, g, all)
		}
	}
}
