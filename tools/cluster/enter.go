//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/tools/cluster/network"
)

type kubectlCommand struct {
	Args []string `arg:"" optional:"" help:"Arguments of kubectl."`
}

// Run becomes kubectl, in the network of the control plane.
func (k kubectlCommand) Run(c *cluster) error {
	r, err := c.running()
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := network.Enter(r.Members[0].PID); err != nil {
		return err
	}

	return become(c.bin("kube"), append([]string{"kubectl"}, k.Args...), c.environment())
}

type kubeconfigCommand struct{}

func (kubeconfigCommand) Run(c *cluster) error {
	if _, err := c.running(); err != nil {
		return err
	}
	fmt.Println(c.adminConfig())

	return nil
}

type execCommand struct {
	Node    int      `default:"1" help:"Node whose network it is, from 1; 0 for the control plane's."`
	Command []string `arg:"" passthrough:"" help:"Command and its arguments."`
}

// commandsFolder holds what a command of exec can call beside the machine's programs.
const commandsFolder = "commands"

// Run becomes the command, in the network of a node and with the cluster's DNS. Everything
// else, files and users and processes, stays the machine's.
func (e execCommand) Run(c *cluster) error {
	command := e.Command
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 {
		return errors.New("exec: which command?")
	}
	r, err := c.running()
	if err != nil {
		return err
	}
	node, err := r.node(e.Node)
	if err != nil {
		return err
	}
	// So that what it calls finds a kubectl: this cluster's.
	if err := os.Setenv("PATH", c.run(commandsFolder)+string(filepath.ListSeparator)+os.Getenv("PATH")); err != nil {
		return err
	}
	program, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}

	runtime.LockOSThread()
	if err := network.Enter(node.PID); err != nil {
		return err
	}
	if err := c.useClusterDNS(); err != nil {
		return fmt.Errorf("cluster's DNS: %w", err)
	}

	return become(program, command, c.environment())
}

// resolvConf is what a pod's /etc/resolv.conf says, but for the namespace.
const resolvConf = "nameserver " + network.DNS + "\nsearch svc.cluster.local cluster.local\noptions ndots:5\n"

// useClusterDNS shows the calling thread, and nobody else, another /etc/resolv.conf.
func (c *cluster) useClusterDNS() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	// It is often a link, to a file that a daemon replaces.
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		return err
	}

	return unix.Mount(c.run("resolv.conf"), target, "", unix.MS_BIND, "")
}

func (c *cluster) environment() []string {
	var out []string
	for _, variable := range os.Environ() {
		// A proxy of the machine cannot be reached from there.
		name, _, _ := strings.Cut(variable, "=")
		switch strings.ToUpper(name) {
		case "KUBECONFIG", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY":
		default:
			out = append(out, variable)
		}
	}

	return append(out, "KUBECONFIG="+c.adminConfig())
}

// become replaces this process, whose namespaces are those of the calling thread.
func become(program string, args, env []string) error {
	return fmt.Errorf("%s: %w", program, unix.Exec(program, args, env))
}
