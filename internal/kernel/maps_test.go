package kernel

import (
	"fmt"
	"slices"
	"testing"
)

func TestParseMaps(t *testing.T) {
	t.Parallel()
	const text = `00400000-0047d000 r-xp 00000000 fd:00 1053571                            /usr/bin/a b
c000000000-c000400000 rw-p 00000000 00:00 0                              [anon: Go: heap]
7f1c00000000-7f1c00021000 rw-p 00000000 00:00 0 
7ffd00000000-7ffd00021000 rw-s 00001000 00:01 7                          /dev/zero (deleted)
7f1c00021000-7f1c00020000 rw-p 00000000 00:00 0
not an address
7f1c00030000-7f1c00040000 rw`
	var got []string
	ParseMaps([]byte(text), func(m Mapping) {
		got = append(got, fmt.Sprintf("%x %x %s %d %q", m.Start, m.End, m.Perms, m.Inode, m.Path))
	})
	want := []string{
		`400000 47d000 r-xp 1053571 "/usr/bin/a b"`,
		`c000000000 c000400000 rw-p 0 "[anon: Go: heap]"`,
		`7f1c00000000 7f1c00021000 rw-p 0 ""`,
		`7ffd00000000 7ffd00021000 rw-s 7 "/dev/zero (deleted)"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
