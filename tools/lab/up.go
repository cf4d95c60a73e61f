package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/klog/v2"

	"github.com/evenkeel/evenkeel/tools/lab/local"
	"github.com/evenkeel/evenkeel/tools/lab/render"
	"github.com/evenkeel/evenkeel/tools/lab/up"
)

type upCommand struct {
	Overlays []string `arg:"" help:"Overlays: names in the overlays folder, or paths to folders with a kustomization.yaml; with components, if wanted, as in endpointslice+retries."`

	Port        uint16 `default:"8000" help:"Port of the page on 127.0.0.1; 0 for a free one."`
	OverlaysDir string `default:"kustomize/overlays" type:"path" help:"Folder of the overlays."`
	BinDir      string `type:"path" help:"Folder of the services' binaries. The lab's own by default."`
}

// Run runs the overlays until the context ends.
func (c upCommand) Run(ctx context.Context) (err error) {
	rendered, err := loadOverlays(c.OverlaysDir, c.Overlays)
	if err != nil {
		return usageError{err}
	}
	binaries, err := findBinaries(c.BinDir)
	if err != nil {
		return usageError{err}
	}
	listener, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(c.Port))))
	if err != nil {
		return usageError{fmt.Errorf("--port: %w: give another, or 0 for a free one", err)}
	}
	defer func() { _ = listener.Close() }() // most often it is

	progress := newProgress(os.Stderr, nil)
	defer progress.Close()
	slog.SetDefault(slog.New(slog.NewTextHandler(progress, &slog.HandlerOptions{ReplaceAttr: withoutTime})))
	klog.SetSlogLogger(slog.Default())

	progress.Step("starting " + strings.Join(c.Overlays, ", "))
	env, err := local.New(ctx, local.Options{Binaries: binaries, Log: progress.Note})
	if err != nil {
		return err
	}
	defer func() {
		progress.Step("stopping")
		env.Close()
		progress.Close()
		if err == nil {
			progress.Note("whatever was started has been ended")
		}
	}()
	// No service is given: each Deployment begins with the replicas that its manifest says.
	if err := env.Start(ctx, rendered, "", 0); err != nil {
		return err
	}
	board, err := up.New(ctx, env, c.described(rendered), up.Options{Cannot: local.Cannot, MaxPods: local.MaxPods, Log: progress.Note})
	if err != nil {
		return err
	}
	progress.Step("serving; Ctrl-C ends it")
	progress.Note("http://" + listener.Addr().String())

	return serve(ctx, env, board, listener)
}

// serve serves the page until ctx is done, which is no error, or the environment has broken down.
func serve(ctx context.Context, env *local.Environment, board *up.Board, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- board.Serve(ctx, listener) }()
	select {
	case err := <-served:
		return err
	case <-env.Failed():
		cancel()

		return errors.Join(env.Err(), <-served)
	}
}

// described are the overlays with what their READMEs say of them.
func (c upCommand) described(rendered []*render.Overlay) []up.Overlay {
	overlays := make([]up.Overlay, len(rendered))
	for i, o := range rendered {
		overlays[i] = up.Overlay{Overlay: o}
		name, components, _ := strings.Cut(c.Overlays[i], "+")
		if folder, err := render.Find(c.OverlaysDir, name); err == nil {
			overlays[i].About = up.About(folder)
		}
		for component := range strings.SplitSeq(components, "+") {
			if component != "" {
				overlays[i].About += " And " + up.About(filepath.Join(filepath.Dir(filepath.Clean(c.OverlaysDir)), "components", component))
			}
		}
	}

	return overlays
}
