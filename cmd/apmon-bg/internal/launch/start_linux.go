package launch

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// shell runs what the kernel does not know how to, as in execvp(3).
const shell = "/bin/sh"

// start starts a command as execvp(3) would, in the directory cgroup if that is
// not "". If it could only be started outside, cgroupErr says why. err is a
// [syscall.Errno].
func start(args []string, cgroup string) (pid int, cgroupErr, err error) {
	attr := syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}}
	inside := attr
	if cgroup != "" {
		var fd int
		if fd, cgroupErr = unix.Open(cgroup, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); cgroupErr == nil {
			defer unix.Close(fd)
			inside.Sys = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
		}
	}
	fork := func(path string, args []string) (err error) {
		if inside.Sys != nil {
			if pid, err = syscall.ForkExec(path, args, &inside); err == nil {
				return nil
			}
		}
		// The error may be the program's or the cgroup's.
		first := err
		if pid, err = syscall.ForkExec(path, args, &attr); err == nil && first != nil {
			cgroupErr = first
		}
		return err
	}

	err = syscall.ENOENT
	denied := false
	for _, path := range candidates(args[0]) {
		// To look first is cheaper than to fork.
		if err = unix.Stat(path, new(unix.Stat_t)); err == nil {
			err = fork(path, args)
		}
		if err == syscall.ENOEXEC {
			err = fork(shell, append([]string{shell, path}, args[1:]...))
		}
		switch err {
		case syscall.EACCES:
			denied = true
		case syscall.ENOENT, syscall.ENOTDIR, syscall.ESTALE, syscall.ENODEV, syscall.ETIMEDOUT:
		default:
			return pid, cgroupErr, err
		}
	}
	if denied {
		err = syscall.EACCES
	}
	return 0, cgroupErr, err
}

// candidates are the files that a command may be, in order.
func candidates(name string) []string {
	if name == "" {
		return nil
	}
	if strings.Contains(name, "/") {
		return []string{name}
	}
	path, ok := os.LookupEnv("PATH")
	if !ok {
		path = "/bin:/usr/bin" // as the C library has it
	}
	dirs := strings.Split(path, ":")
	for i, dir := range dirs {
		if dir == "" {
			dirs[i] = name
		} else {
			dirs[i] = dir + "/" + name
		}
	}
	return dirs
}
