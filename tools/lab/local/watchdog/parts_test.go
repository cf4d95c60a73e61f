package watchdog

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

var parts = map[string]func() error{
	"watchdog": func() error { return Main(os.Stdin, os.Stdout) },
	"lab":      lab,
	"busy-lab": busyLab,
	"pod":      pod,
	"sleeper":  func() error { select {} },
	"mute":     func() error { return nil },
	"stranger": func() error { fmt.Println("hello"); select {} },
}

// scene is what a lab says of itself.
type scene struct {
	Watchdog int
	Folder   string
	Pods     []podScene
}

type podScene struct {
	PID     int
	Address string
}

// lab has a folder, a watchdog and three pods, one of them frozen, and waits to be killed.
func lab() error {
	folder, err := TempDir()
	if err != nil {
		return err
	}
	w, err := startWatchdog(folder.Path)
	if err != nil {
		return err
	}
	told := scene{Watchdog: w.cmd.Process.Pid, Folder: folder.Path}
	for range 3 {
		cmd := exec.Command(os.Args[0], "pod")
		cmd.SysProcAttr = w.SysProcAttr()
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		var p podScene
		if err := json.NewDecoder(out).Decode(&p); err != nil {
			return err
		}
		told.Pods = append(told.Pods, p)
	}
	if err := syscall.Kill(told.Pods[0].PID, syscall.SIGSTOP); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		return err
	}
	select {}
}

// busyLab starts pods without pause, each with a copy of the file that it was given.
func busyLab() error {
	w, err := startWatchdog()
	if err != nil {
		return err
	}
	for i := range 200 {
		cmd := exec.Command(os.Args[0], "sleeper")
		cmd.SysProcAttr = w.SysProcAttr()
		cmd.ExtraFiles = []*os.File{os.NewFile(3, "alive")}
		if err := cmd.Start(); err != nil {
			return err
		}
		if i == 10 {
			fmt.Println("busy")
		}
	}
	select {}
}

func startWatchdog(cleanup ...string) (*Watchdog, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()

	return Start(ctx, os.Args[0], []string{"watchdog"}, cleanup...)
}

// pod listens, and is deaf to everything but SIGKILL.
func pod() error {
	ignoreEverything()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(podScene{os.Getpid(), l.Addr().String()}); err != nil {
		return err
	}
	select {}
}

func ignoreEverything() {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
}
