// Package kubelet stands in for the kubelet of every node: it runs pods as processes of this machine, each on an IP
// address of its own, and writes their status to the store.
//
// Real are the program, its signals and exit codes, the probes and the order and timing of a pod's life: start,
// startup, readiness and liveness probes, restarts with CrashLoopBackOff, preStop, SIGTERM, grace period, SIGKILL.
// Not there are containers: pods share the machine's files, CPUs and network namespace. There is no scheduler either;
// pods come with a node.
//
// The kubelet is the only writer of pods in the store. It is told of new and unwanted pods by calls, not by watching.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
	"github.com/evenkeel/evenkeel/tools/lab/local/podspec"
	"github.com/evenkeel/evenkeel/tools/lab/local/probe"
)

// Options are what pods need of their surroundings.
type Options struct {
	// Binaries stand for images.
	Binaries podspec.Binaries
	// Env has variables for a pod over those of its container; nil for none. It is asked when the pod is created and at
	// each start of the container.
	Env func(namespace string, pod *corev1.Pod) map[string]string
	// NewAddress hands out the IP address of a new pod. Release is called when the pod is gone; a client may still
	// try the address then, so it should rest for a while.
	NewAddress func(namespace string) (addr netip.Addr, release func(), err error)
	// Folder is where logs and the working folders of pods go.
	Folder string
	// SysProcAttr is given to each process. It puts them under the guard of the watchdog.
	SysProcAttr *syscall.SysProcAttr

	// Start starts a process in a folder with its output to a log; nil for a real one.
	Start func(command podspec.Command, folder string, log *os.File) (Process, error)
	// Check asks a container how it is; nil for asking over the network.
	Check func(ctx context.Context, pod *corev1.Pod, probe *corev1.Probe) error
}

// End is how a pod's life ended.
type End struct {
	Namespace, Name string
	// At is when its process was gone.
	At time.Time
	// Killed tells [Kubelet.Kill] from [Kubelet.Delete].
	Killed bool
}

// Kubelet runs pods. It is safe for concurrent use.
type Kubelet struct {
	store *apiserver.Store
	opts  Options
	ended func(End)
	ctx   context.Context //nolint:containedctx // the life of the kubelet, which outlives every call
	close context.CancelFunc

	mu      sync.Mutex
	workers map[key]*worker
	closed  bool
	running sync.WaitGroup
}

type key struct{ namespace, name string }

var errClosed = errors.New("the kubelet has shut down")

// New returns a kubelet without pods. It calls ended for each pod that ends before the shutdown, just before the pod
// leaves the store.
func New(store *apiserver.Store, opts Options, ended func(End)) *Kubelet {
	if opts.Start == nil {
		opts.Start = starter(opts.SysProcAttr)
	}
	if opts.Check == nil {
		opts.Check = probe.Network{}.Check
	}
	ctx, cancel := context.WithCancel(context.Background())

	return &Kubelet{store: store, opts: opts, ended: ended, ctx: ctx, close: cancel, workers: make(map[key]*worker)}
}

// Create puts the pod in the store and starts it. It fails when the pod asks for what cannot be done here, when what
// it refers to is missing, and when there is no address.
func (k *Kubelet) Create(pod *corev1.Pod) (netip.Addr, error) {
	pod = pod.DeepCopy()
	podspec.SetDefaults(&pod.Spec)
	if err := podspec.Check(&pod.Spec, k.opts.Binaries); err != nil {
		return netip.Addr{}, fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	addr, release, err := k.opts.NewAddress(pod.Namespace)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("pod %s/%s: address: %w", pod.Namespace, pod.Name, err)
	}
	w := &worker{
		kubelet: k, key: key{pod.Namespace, pod.Name}, addr: addr, release: release,
		grace: time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second, container: &pod.Spec.Containers[0],
		deleted: make(chan struct{}), killed: make(chan struct{}), done: make(chan struct{}),
	}
	// A variable that cannot be made is a fault of the manifests: say so before there is a pod.
	if _, err := k.command(w.withAddress(pod)); err != nil {
		release()

		return netip.Addr{}, fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	pod.Status = pendingStatus(pod)

	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		release()

		return netip.Addr{}, errClosed
	}
	if k.workers[w.key] != nil {
		release()

		return netip.Addr{}, fmt.Errorf("pod %s/%s: there is one of that name", pod.Namespace, pod.Name)
	}
	if err := k.store.Put(pod); err != nil {
		release()

		return netip.Addr{}, err
	}
	k.workers[w.key] = w
	k.running.Go(func() { w.run(k.ctx) })

	return addr, nil
}

// Delete asks for the end of a pod as the API does: it is marked as terminating, runs its preStop hook, gets SIGTERM,
// and SIGKILL when its grace period is over. Delete returns when the pod is marked. It reports whether there is such
// a pod.
func (k *Kubelet) Delete(namespace, name string) bool {
	w := k.find(namespace, name)
	if w == nil {
		return false
	}
	w.deleteOnce.Do(func() {
		w.update(func(pod *corev1.Pod) {
			pod.DeletionTimestamp = new(metav1.NewTime(time.Now().Add(w.grace)))
			pod.DeletionGracePeriodSeconds = new(int64(w.grace.Seconds()))
		})
		close(w.deleted)
	})

	return true
}

// Kill kills the pod's process without notice and removes the pod from the store once it is dead, as `kubectl delete
// pod --force --grace-period=0` does.
func (k *Kubelet) Kill(ctx context.Context, namespace, name string) error {
	w := k.find(namespace, name)
	if w == nil {
		return fmt.Errorf("kill pod %s/%s: there is no such pod", namespace, name)
	}
	w.killOnce.Do(func() { close(w.killed) })
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("kill pod %s/%s: %w", namespace, name, ctx.Err())
	}
}

// Freeze stops the pod's process (SIGSTOP) and lets it go on (SIGCONT) after d. It returns at once.
func (k *Kubelet) Freeze(namespace, name string, d time.Duration) error {
	w := k.find(namespace, name)
	if w == nil {
		return fmt.Errorf("freeze pod %s/%s: there is no such pod", namespace, name)
	}
	process := w.current()
	if process == nil {
		return fmt.Errorf("freeze pod %s/%s: it is not running", namespace, name)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return errClosed
	}
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("freeze pod %s/%s: %w", namespace, name, err)
	}
	k.running.Go(func() {
		thaw := time.NewTimer(d)
		defer thaw.Stop()
		select {
		case <-thaw.C:
		case <-process.Done():
		case <-k.ctx.Done(): // so that it can end by itself
		}
		_ = process.Signal(syscall.SIGCONT) // unless it is gone
	})

	return nil
}

// LogPath is where the output of a pod goes, of all its restarts one after the other.
func (k *Kubelet) LogPath(namespace, name string) string {
	return filepath.Join(k.opts.Folder, namespace, name+".log")
}

// Close ends all pods at once: SIGTERM without preStop, a short wait, SIGKILL. It returns when all are gone. Their
// objects stay in the store as they were.
func (k *Kubelet) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.close()
	k.running.Wait()
}

func (k *Kubelet) find(namespace, name string) *worker {
	k.mu.Lock()
	defer k.mu.Unlock()

	return k.workers[key{namespace, name}]
}

func (k *Kubelet) forget(w *worker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.workers, w.key)
}

func (k *Kubelet) command(pod *corev1.Pod) (podspec.Command, error) {
	return podspec.Cluster{
		Binaries: k.opts.Binaries,
		Env:      k.opts.Env,
		ConfigMap: func(namespace, name string) (*corev1.ConfigMap, bool) {
			return apiserver.Get[*corev1.ConfigMap](k.store, namespace, name)
		},
	}.Command(pod)
}
