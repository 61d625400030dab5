package packagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"
)

// file is a file of a package, as far as all formats have it.
type file struct {
	mode         fs.FileMode
	owner, group string
	sum          string // SHA-256, of regular files
	config       bool   // upgrades keep it if it was changed; unknown in apk
}

// readTar reads a compressed archive. Names begin with a slash.
func readTar(t testing.TB, b []byte) (files map[string]file, contents map[string][]byte) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	files, contents = map[string]file{}, map[string][]byte{}
	for archive := tar.NewReader(z); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		f := file{mode: h.FileInfo().Mode(), owner: h.Uname, group: h.Gname}
		if f.mode.IsRegular() {
			f.sum = fmt.Sprintf("%x", sha256.Sum256(content))
		}
		name := path.Join("/", h.Name)
		files[name], contents[name] = f, content
	}
}

// readDeb reads a deb: an archive of ar with the archives control and data.
func readDeb(t testing.TB, name string) (files map[string]file, contents map[string][]byte) {
	t.Helper()
	b := read(t, name)
	rest, ok := bytes.CutPrefix(b, []byte("!<arch>\n"))
	var config string
	for ok && len(rest) >= 60 {
		member := strings.TrimRight(string(rest[:16]), " /")
		size, err := strconv.Atoi(strings.TrimSpace(string(rest[48:58])))
		if err != nil {
			t.Fatal(err)
		}
		switch content := rest[60 : 60+size]; member {
		case "control.tar.gz":
			_, control := readTar(t, content)
			config = string(control["/conffiles"])
		case "data.tar.gz":
			files, contents = readTar(t, content)
		}
		rest = rest[60+size+size%2:]
	}
	for _, name := range strings.Fields(config) {
		f := files[name]
		f.config = true
		files[name] = f
	}
	return files, contents
}

// readRPM reads the list of files of an rpm, from its header.
func readRPM(t testing.TB, name string) map[string]file {
	t.Helper()
	const lead = 96
	// The numbers of the tags.
	const digests, modes, flags, users, groups, folderIndex, names, folders, host = 1035, 1030, 1037, 1039, 1040, 1116, 1117, 1118, 1007
	rest := read(t, name)[lead:]
	count := 0                                  // of the files in the header
	header := func() (tags map[uint32][]byte) { // the store from the value of each tag on
		if !bytes.HasPrefix(rest, []byte{0x8e, 0xad, 0xe8, 1}) {
			t.Fatal("no header")
		}
		n, size := int(binary.BigEndian.Uint32(rest[8:])), int(binary.BigEndian.Uint32(rest[12:]))
		store := rest[16+16*n:][:size]
		tags = map[uint32][]byte{}
		for i := range n {
			entry := rest[16+16*i:]
			tag := binary.BigEndian.Uint32(entry)
			if tags[tag] = store[binary.BigEndian.Uint32(entry[8:]):]; tag == modes {
				count = int(binary.BigEndian.Uint32(entry[12:]))
			}
		}
		rest = rest[16+16*n+size:]
		return tags
	}
	signature := len(rest)
	header()
	rest = rest[(8-(signature-len(rest))%8)%8:]
	tags := header()
	text := func(tag uint32, i int) string { return string(bytes.SplitN(tags[tag], []byte{0}, i+2)[i]) }
	files := map[string]file{}
	if got := text(host, 0); got != "localhost" {
		t.Errorf("%s was built on %q", name, got)
	}
	for i := range count {
		mode := binary.BigEndian.Uint16(tags[modes][2*i:])
		f := file{mode: fs.FileMode(mode & 0o777), owner: text(users, i), group: text(groups, i), sum: text(digests, i)}
		if mode&0o170000 == 0o040000 {
			f.mode |= fs.ModeDir
		}
		const config, noReplace = 1, 16
		f.config = binary.BigEndian.Uint32(tags[flags][4*i:])&(config|noReplace) == config|noReplace
		files[text(folders, int(binary.BigEndian.Uint32(tags[folderIndex][4*i:])))+text(names, i)] = f
	}
	return files
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
