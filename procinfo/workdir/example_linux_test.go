package workdir_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/apmon-go/apmon/procinfo"
	"github.com/apmon-go/apmon/procinfo/workdir"
)

func Example() {
	path, err := os.MkdirTemp("", "workdir")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(path)
	if err := os.WriteFile(filepath.Join(path, "output"), []byte("events"), 0o600); err != nil {
		fmt.Println(err)
	}

	dirs := workdir.New(procinfo.DefaultFS(os.Getenv)) // one for all directories
	defer dirs.Close()
	dir := dirs.Add(path)
	// The size of the files, and the space of the file system, if they are known in time.
	u := dir.Sample(time.Minute, true, true)
	if u.Err != nil {
		fmt.Println(u.Err)
	}
	fmt.Println("size is known:", u.SizeMB.OK)
	fmt.Println("used and free are at most total:", u.Used.V+u.Free.V <= u.Total.V)
	// Output:
	// size is known: true
	// used and free are at most total: true
}
