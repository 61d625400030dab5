package kernel

import (
	"fmt"
	"testing"
)

// The files of several drivers, as the kernel's documentation and users show them.
func TestParseFDInfo(t *testing.T) {
	t.Parallel()
	const head = "pos:\t0\nflags:\t02100002\nmnt_id:\t26\nino:\t284\n"
	for name, tt := range map[string]struct{ content, want string }{
		"amdgpu": {"drm-driver:\tamdgpu\ndrm-client-id:\t27\ndrm-pdev:\t0000:05:00.0\npasid:\t32770\ndrm-memory-vram:\t2048 KiB\ndrm-memory-gtt: \t512 KiB\ndrm-memory-cpu: \t0 KiB\ndrm-engine-gfx:\t7500000 ns\ndrm-engine-compute:\t500 ns\n",
			"amdgpu 0000:05:00.0 27 2048 [gfx 7500000 0/0] [compute 500 0/0]"},
		"amdgpu, newer": {"drm-driver:\tamdgpu\ndrm-client-id:\t27\ndrm-pdev:\t0000:05:00.0\ndrm-total-vram:\t4 MiB\ndrm-resident-vram:\t3 MiB\ndrm-memory-vram:\t3072 KiB\ndrm-resident-gtt:\t8 KiB\n",
			"amdgpu 0000:05:00.0 27 3072"},
		"i915": {"drm-driver:\ti915\ndrm-pdev:\t0000:00:02.0\ndrm-client-id:\t7\ndrm-total-system0:\t100 MiB\ndrm-resident-system0:\t96 MiB\ndrm-resident-stolen-system0:\t4 MiB\ndrm-engine-render:\t9288864723 ns\ndrm-engine-copy:\t2035071108 ns\ndrm-engine-video:\t0 ns\ndrm-engine-capacity-video:\t2\n",
			"i915 0000:00:02.0 7 102400 [render 9288864723 0/0] [copy 2035071108 0/0] [video 0 0/0]"},
		"xe": {"drm-driver:\txe\ndrm-client-id:\t3\ndrm-pdev:\t0000:03:00.0\ndrm-total-vram0:\t23992 KiB\ndrm-resident-system:\t0\ndrm-resident-vram0:\t23992 KiB\ndrm-cycles-rcs:\t28257900\ndrm-total-cycles-rcs:\t7655183225\ndrm-engine-capacity-ccs:\t4\n",
			"xe 0000:03:00.0 3 23992 [rcs 0 28257900/7655183225]"},
		"nouveau":      {"drm-driver:\tnouveau\ndrm-client-id:\t12\ndrm-pdev:\t0000:01:00.0\ndrm-resident-vram:\t1 GiB\n", "nouveau 0000:01:00.0 12 1048576"},
		"no DRM":       {"eventfd-count:                0\n", "  0 0"},
		"strange unit": {"drm-driver:\tx\ndrm-client-id:\t1\ndrm-resident-vram:\t5 pages\n", "x  1 0"},
	} {
		u := ParseFDInfo([]byte(head + tt.content))
		got := fmt.Sprintf("%s %s %d %d", u.Driver, u.Device, u.Client.N, u.Memory.N)
		for _, e := range u.Engines {
			got += fmt.Sprintf(" [%s %d %d/%d]", e.Name, e.Busy.N, e.Cycles.N, e.CyclesOver.N)
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}
