package controller

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet"
	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet/kubelettest"
	"github.com/evenkeel/evenkeel/tools/lab/local/podspec"
)

func TestMain(m *testing.M) {
	kubelettest.Serve()
	goleak.VerifyTestMain(m)
}

// cluster is a controller whose pods only pretend, under the clock of synctest.
type cluster struct {
	*Controller

	t         *testing.T
	begun     time.Time
	machine   *kubelettest.Machine
	addresses *kubelettest.Addresses
	stop      context.CancelFunc
	result    chan error
}

// onCluster runs a test on a new cluster that runs, and stops it at the end.
func onCluster(t *testing.T, test func(*cluster)) {
	t.Helper()
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{
			t: t, begun: time.Now(), machine: kubelettest.NewMachine(), addresses: &kubelettest.Addresses{}, result: make(chan error, 1),
		}
		c.Controller = New(apiserver.NewStore(), Options{
			Kubelet: kubelet.Options{
				Binaries: podspec.Binaries{"rng": "/bin/rng"}, NewAddress: c.addresses.New, Folder: folder,
				Start: c.machine.Start, Check: c.machine.Check,
			},
			Nodes: []Node{{"node-1", "a"}, {"node-2", "b"}},
		})
		ctx, cancel := context.WithCancel(t.Context())
		c.stop = cancel
		go func() { c.result <- c.Run(ctx) }()
		test(c)
		cancel()
		if err := <-c.result; err != nil {
			t.Error(err)
		}
		if left := c.machine.Running(); len(left) > 0 {
			t.Errorf("left running: %v", left)
		}
	})
}

func (c *cluster) put(objects ...apiserver.Object) {
	c.t.Helper()
	for _, object := range objects {
		if err := c.store.Put(object); err != nil {
			c.t.Fatal(err)
		}
	}
	synctest.Wait()
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	synctest.Wait()
}

// after waits for d and what happens then.
func (c *cluster) after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// each looks at the cluster every 50 ms of d.
func (c *cluster) each(d time.Duration, look func()) {
	for range d / (50 * time.Millisecond) {
		c.after(50 * time.Millisecond)
		look()
	}
}

func (c *cluster) pods() []*corev1.Pod { return apiserver.List[*corev1.Pod](c.store, "ns") }

// summary counts the pods of each kind, as text: "3 ready, 1 terminating, 1 waiting".
func (c *cluster) summary() string {
	var ready, terminating, waiting int
	for _, pod := range c.pods() {
		switch {
		case pod.DeletionTimestamp != nil:
			terminating++
		case readySince(pod) != nil:
			ready++
		default:
			waiting++
		}
	}

	return fmt.Sprintf("%d ready, %d waiting, %d terminating", ready, waiting, terminating)
}

func (c *cluster) want(summary string) {
	c.t.Helper()
	if got := c.summary(); got != summary {
		c.t.Errorf("after %v: %s; want %s", time.Since(c.begun), got, summary)
	}
}

func (c *cluster) names() []string {
	var names []string
	for _, pod := range c.pods() {
		names = append(names, pod.Name)
	}

	return names
}

// readyInSlices has the pods that are ready in the slices of a Service.
func (c *cluster) readyInSlices(service string) []string {
	var names []string
	for _, slice := range apiserver.List[*discoveryv1.EndpointSlice](c.store, "ns") {
		if slice.Labels[discoveryv1.LabelServiceName] != service {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			if *endpoint.Conditions.Ready {
				names = append(names, endpoint.TargetRef.Name)
			}
		}
	}
	slices.Sort(names)

	return names
}

func deployment(replicas int32, change func(*appsv1.Deployment)) *appsv1.Deployment {
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "rng", Generation: 1},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "rng"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "rng"}},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "rng", Image: "rng",
					Ports: []corev1.ContainerPort{{Name: "grpc", ContainerPort: kubelettest.Port}},
					ReadinessProbe: &corev1.Probe{
						ProbeHandler:  corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: kubelettest.Port}},
						PeriodSeconds: 1,
					},
				}}},
			},
			Strategy: rolling(intstr.FromInt32(1), intstr.FromInt32(0)),
		},
	}
	if change != nil {
		change(d)
	}

	return d
}

func rolling(surge, unavailable intstr.IntOrString) appsv1.DeploymentStrategy {
	return appsv1.DeploymentStrategy{
		Type:          appsv1.RollingUpdateDeploymentStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &unavailable},
	}
}

func service(name string, change func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, Labels: map[string]string{"app": "rng"}},
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone,
			Selector:  map[string]string{"app": "rng"},
			Ports:     []corev1.ServicePort{{Name: "grpc", Port: 80, TargetPort: intstr.FromString("grpc")}},
		},
	}
	if change != nil {
		change(s)
	}

	return s
}
