package kubelet

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
	"github.com/evenkeel/evenkeel/tools/lab/local/probe"
)

const (
	// hostIP is the address of every node.
	hostIP = "127.0.0.1"
	// firstProbe is how long after the start of a container the first probe comes: on a node, when the kubelet has
	// seen that the container runs, for which it looks once a second.
	firstProbe = 500 * time.Millisecond
	// minTermination is what a container has between SIGTERM and SIGKILL, however long its preStop hook took (the
	// kubelet's minimumGracePeriodInSeconds).
	minTermination = 2 * time.Second
	// shutdownGrace is what all pods have between SIGTERM and SIGKILL when the lab ends.
	shutdownGrace = 2 * time.Second
)

// worker lives one pod's life.
type worker struct {
	kubelet   *Kubelet
	key       key
	addr      netip.Addr
	release   func()
	grace     time.Duration
	container *corev1.Container

	deleted, killed      chan struct{}
	deleteOnce, killOnce sync.Once
	done                 chan struct{}

	mu      sync.Mutex
	process Process
}

// run keeps the container running until the pod is deleted, killed, or ctx ends.
func (w *worker) run(ctx context.Context) {
	defer close(w.done)
	defer w.release()
	defer w.kubelet.forget(w)

	var crashes backoff
	gone := time.Now() // its process, if it ever had one
	for restarts := int32(0); !w.ending(ctx); restarts++ {
		w.runContainer(ctx, restarts)
		gone = time.Now()
		if wait := crashes.next(gone); wait > 0 && !w.ending(ctx) {
			w.update(func(pod *corev1.Pod) { setBackoff(&pod.Status, wait) })
			w.sleep(ctx, wait)
		}
	}
	if ctx.Err() == nil {
		w.kubelet.ended(End{Namespace: w.key.namespace, Name: w.key.name, At: gone, Killed: isClosed(w.killed)})
		apiserver.Delete[*corev1.Pod](w.kubelet.store, w.key.namespace, w.key.name)
	}
}

func (w *worker) ending(ctx context.Context) bool {
	return isClosed(w.deleted) || isClosed(w.killed) || ctx.Err() != nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// sleep waits for d, or until the pod is to end.
func (w *worker) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.deleted:
	case <-w.killed:
	case <-ctx.Done():
	}
}

// runContainer starts the container and returns when its process is gone, or did not come to be.
func (w *worker) runContainer(ctx context.Context, restarts int32) {
	process, err := w.start()
	if err != nil {
		slog.Warn("container did not start", "namespace", w.key.namespace, "pod", w.key.name, "error", err)
		w.update(func(pod *corev1.Pod) { setNotStarted(&pod.Status, err) })

		return
	}
	w.setProcess(process)
	defer w.setProcess(nil)
	started := time.Now()
	w.update(func(pod *corev1.Pod) { setRunning(w.withAddress(pod), process.PID(), restarts) })

	// Whatever goes on beside the container ends with it.
	beside, stop := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	w.attend(ctx, process, &probes{worker: w, ctx: beside, tasks: &tasks, started: started, verdicts: make(chan verdict)})
	stop()
	tasks.Wait()

	lastWords := ""
	if !w.ending(ctx) {
		lastWords = tail(w.logPath())
		slog.Warn("container ended", "namespace", w.key.namespace, "pod", w.key.name,
			"exitCode", process.ExitCode(), "restarts", restarts, "log", lastWords)
	}
	w.update(func(pod *corev1.Pod) { setTerminated(&pod.Status, process.ExitCode(), lastWords) })
}

// attend looks after the container until its process is gone.
func (w *worker) attend(ctx context.Context, process Process, probes *probes) {
	probes.begin()
	deleted, killed, shutdown := w.deleted, w.killed, ctx.Done()
	terminating := false
	terminate := func(grace time.Duration) {
		if !terminating {
			terminating = true
			probes.tasks.Go(func() { w.terminate(probes.ctx, process, grace) })
		}
	}
	for {
		select {
		case <-process.Done():
			return
		case v := <-probes.verdicts:
			switch {
			case v.of == readiness:
				w.update(func(pod *corev1.Pod) { setReady(&pod.Status, v.err) })
			case terminating:
				// Nobody asks any more whether it is alive.
			case v.err != nil:
				slog.Warn("container is restarted", "namespace", w.key.namespace, "pod", w.key.name, "probe", v.of, "error", v.err)
				terminate(w.graceAfter(v.of))
			case v.of == startup:
				w.update(func(pod *corev1.Pod) { setStarted(&pod.Status, w.container) })
				probes.beginRegular()
			}
		case <-deleted:
			deleted = nil
			terminate(w.grace)
		case <-killed:
			killed = nil
			_ = process.Signal(syscall.SIGKILL)
		case <-shutdown:
			shutdown = nil
			probes.tasks.Go(func() { end(process, shutdownGrace) })
		}
	}
}

// graceAfter is the grace period of a container that failed a probe, which may have one of its own.
func (w *worker) graceAfter(of probeKind) time.Duration {
	spec := w.container.LivenessProbe
	if of == startup {
		spec = w.container.StartupProbe
	}
	if spec.TerminationGracePeriodSeconds != nil {
		return time.Duration(*spec.TerminationGracePeriodSeconds) * time.Second
	}

	return w.grace
}

// terminate ends a container in good order: preStop hook, SIGTERM, and SIGKILL when grace is over, which the hook
// counts against. It gives up when ctx ends.
func (w *worker) terminate(ctx context.Context, process Process, grace time.Duration) {
	begun := time.Now()
	grace = max(grace, time.Second) // as the kubelet: nobody has none at all
	hook, cancel := context.WithDeadline(ctx, begun.Add(grace))
	defer cancel()
	w.preStop(hook)
	if ctx.Err() != nil {
		return
	}
	if !end(process, max(grace-time.Since(begun), minTermination)) {
		slog.Warn("container did not end in its grace period", "namespace", w.key.namespace, "pod", w.key.name, "grace", grace)
	}
}

// preStop runs the hook. Nothing depends on how it ends.
func (w *worker) preStop(ctx context.Context) {
	if w.container.Lifecycle == nil || w.container.Lifecycle.PreStop == nil {
		return
	}
	hook := w.container.Lifecycle.PreStop
	if hook.Sleep != nil {
		timer := time.NewTimer(time.Duration(hook.Sleep.Seconds) * time.Second)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}

		return
	}
	pod, _ := w.pod()
	if err := probe.Get(ctx, w.withAddress(pod), hook.HTTPGet); err != nil {
		slog.Warn("preStop hook failed", "namespace", w.key.namespace, "pod", w.key.name, "error", err)
	}
}

// end sends SIGTERM, and SIGKILL after grace, and reports whether the first was enough.
func end(process Process, grace time.Duration) bool {
	_ = process.Signal(syscall.SIGTERM) // unless it is gone
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-process.Done():
		return true
	case <-timer.C:
		_ = process.Signal(syscall.SIGKILL)
		<-process.Done()

		return false
	}
}

// withAddress gives pod the addresses that the kubelet publishes with the first status of the running container.
func (w *worker) withAddress(pod *corev1.Pod) *corev1.Pod {
	pod.Status.PodIP = w.addr.String()
	pod.Status.PodIPs = []corev1.PodIP{{IP: pod.Status.PodIP}}
	pod.Status.HostIP = hostIP
	pod.Status.HostIPs = []corev1.HostIP{{IP: hostIP}}

	return pod
}

func (w *worker) pod() (*corev1.Pod, bool) {
	return apiserver.Get[*corev1.Pod](w.kubelet.store, w.key.namespace, w.key.name)
}

func (w *worker) update(change func(*corev1.Pod)) {
	if _, err := apiserver.Update(w.kubelet.store, w.key.namespace, w.key.name, change); err != nil {
		slog.Error("cannot write the status of a pod", "namespace", w.key.namespace, "pod", w.key.name, "error", err)
	}
}

func (w *worker) current() Process {
	w.mu.Lock()
	defer w.mu.Unlock()

	return w.process
}

func (w *worker) setProcess(process Process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.process = process
}
