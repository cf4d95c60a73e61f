package controller

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
	"github.com/evenkeel/evenkeel/tools/lab/local/kubelet/kubelettest"
)

// slicesText is all that the slices of a Service say, a line for each slice and endpoint.
func slicesText(c *Controller, service string) string {
	var lines []string
	for _, slice := range apiserver.List[*discoveryv1.EndpointSlice](c.store, "ns") {
		if slice.Labels[discoveryv1.LabelServiceName] != service {
			continue
		}
		var ports []string
		for _, p := range slice.Ports {
			ports = append(ports, fmt.Sprintf("%s %s %d", *p.Name, *p.Protocol, *p.Port))
		}
		lines = append(lines, strings.Join(ports, ", ")+":")
		for _, e := range slice.Endpoints {
			zone := "no zone"
			if e.Zone != nil {
				zone = *e.Zone
			}
			lines = append(lines, fmt.Sprintf("  %s ready=%v serving=%v terminating=%v %s %s",
				e.TargetRef.Name, *e.Conditions.Ready, *e.Conditions.Serving, *e.Conditions.Terminating, *e.NodeName, zone))
		}
	}

	return strings.Join(lines, "\n")
}

// endpointsText is the same for the legacy Endpoints.
func endpointsText(c *Controller, service string) string {
	endpoints, ok := apiserver.Get[*endpointsObject](c.store, "ns", service)
	if !ok {
		return "none"
	}
	var lines []string
	for _, subset := range endpoints.Subsets {
		var ports, ready, notReady []string
		for _, p := range subset.Ports {
			ports = append(ports, fmt.Sprintf("%s %s %d", p.Name, p.Protocol, p.Port))
		}
		for _, a := range subset.Addresses {
			ready = append(ready, a.TargetRef.Name)
		}
		for _, a := range subset.NotReadyAddresses {
			notReady = append(notReady, a.TargetRef.Name)
		}
		lines = append(lines, fmt.Sprintf("%s: %v and not ready %v", strings.Join(ports, ", "), ready, notReady))
	}

	return strings.Join(lines, "\n")
}

func wantText(t *testing.T, got string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(strings.Join(want, "\n"), got); diff != "" {
		t.Error(diff)
	}
}

func TestTheConditionsOfAnEndpointFollowItsPodThroughItsLife(t *testing.T) {
	onCluster(t, func(c *cluster) {
		c.machine.Behave(kubelettest.Behaviour{Warmup: 2 * time.Second})
		c.put(service("rng", nil))
		wantText(t, slicesText(c.Controller, "rng"), ":")
		wantText(t, endpointsText(c.Controller, "rng"), "")

		c.put(deployment(1, func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{
				PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 10}},
			}
		}))
		name := c.names()[0]
		c.after(time.Second)
		wantText(t, slicesText(c.Controller, "rng"), "grpc TCP 8081:", "  "+name+" ready=false serving=false terminating=false node-1 a")
		wantText(t, endpointsText(c.Controller, "rng"), "grpc TCP 8081: [] and not ready ["+name+"]")

		c.after(3 * time.Second)
		wantText(t, slicesText(c.Controller, "rng"), "grpc TCP 8081:", "  "+name+" ready=true serving=true terminating=false node-1 a")
		wantText(t, endpointsText(c.Controller, "rng"), "grpc TCP 8081: ["+name+"] and not ready []")

		c.must(c.Scale(c.t.Context(), "ns", "rng", 0))
		wantText(t, slicesText(c.Controller, "rng"), "grpc TCP 8081:", "  "+name+" ready=false serving=true terminating=true node-1 a")
		wantText(t, endpointsText(c.Controller, "rng"), "")

		c.machine.SetHealthy(name, false)
		c.after(5 * time.Second)
		wantText(t, slicesText(c.Controller, "rng"), "grpc TCP 8081:", "  "+name+" ready=false serving=false terminating=true node-1 a")

		c.after(5 * time.Second)
		wantText(t, slicesText(c.Controller, "rng"), ":")
	})
}

// The tests below have pods that nobody runs: only what is written of them matters.

func resting(t *testing.T, objects ...apiserver.Object) *Controller {
	t.Helper()
	c := New(apiserver.NewStore(), Options{Nodes: []Node{{"node-1", ""}}})
	for _, object := range objects {
		if err := c.store.Put(object); err != nil {
			t.Fatal(err)
		}
	}
	reconcile(t, c)

	return c
}

func reconcile(t *testing.T, c *Controller) {
	t.Helper()
	if _, err := c.reconcile(time.Now()); err != nil {
		t.Fatal(err)
	}
}

func runningPod(number int, ready bool, ports ...corev1.ContainerPort) *corev1.Pod {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}

	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprintf("rng-%d", number), Labels: map[string]string{"app": "rng"}},
		Spec:       corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "rng", Ports: ports}}},
		Status: corev1.PodStatus{
			PodIP:      fmt.Sprintf("127.0.%d.%d", number/250, number%250+1),
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}},
		},
	}
}

func TestPortsAreResolvedOnEachPod(t *testing.T) {
	c := resting(t,
		service("rng", func(s *corev1.Service) {
			s.Spec.Ports = []corev1.ServicePort{
				{Name: "grpc", Port: 80, TargetPort: intstr.FromString("grpc"), AppProtocol: new("kubernetes.io/h2c")},
				{Name: "udp", Port: 81, TargetPort: intstr.FromString("grpc"), Protocol: corev1.ProtocolUDP},
				{Name: "number", Port: 82, TargetPort: intstr.FromInt32(9000)},
				{Name: "same", Port: 83},
				{Name: "missing", Port: 84, TargetPort: intstr.FromString("missing")},
			}
		}),
		runningPod(1, true, corev1.ContainerPort{Name: "grpc", ContainerPort: 8081}),
		runningPod(2, true, corev1.ContainerPort{Name: "grpc", ContainerPort: 8082}, corev1.ContainerPort{Name: "grpc", ContainerPort: 8083, Protocol: corev1.ProtocolUDP}),
		runningPod(3, false, corev1.ContainerPort{Name: "grpc", ContainerPort: 8081}),
	)

	lines := strings.Split(endpointsText(c, "rng"), "\n")
	slices.Sort(lines)
	wantText(t, strings.Join(lines, "\n"),
		"grpc TCP 8081, number TCP 9000, same TCP 83: [rng-1] and not ready [rng-3]",
		"grpc TCP 8082, udp UDP 8083, number TCP 9000, same TCP 83: [rng-2] and not ready []")
	text := slicesText(c, "rng")
	for _, want := range []string{
		"grpc TCP 8081, number TCP 9000, same TCP 83:\n  rng-1 ready=true serving=true terminating=false node-1 no zone\n  rng-3 ready=false",
		"grpc TCP 8082, udp UDP 8083, number TCP 9000, same TCP 83:\n  rng-2 ready=true",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("slices\n%s\nwant\n%s", text, want)
		}
	}
	first := apiserver.List[*discoveryv1.EndpointSlice](c.store, "ns")[0]
	if got := first.Ports[0].AppProtocol; got == nil || *got != "kubernetes.io/h2c" {
		t.Errorf("appProtocol %v", got)
	}
}

func TestAServiceThatPublishesNotReadyPodsCallsThemReady(t *testing.T) {
	leaving := runningPod(2, true)
	leaving.DeletionTimestamp = new(metav1.Now())
	c := resting(t, service("rng", func(s *corev1.Service) {
		s.Spec.PublishNotReadyAddresses = true
		s.Spec.Ports = nil
	}), runningPod(1, false), leaving)

	wantText(t, slicesText(c, "rng"), ":",
		"  rng-1 ready=true serving=false terminating=false node-1 no zone",
		"  rng-2 ready=true serving=true terminating=true node-1 no zone")
	wantText(t, endpointsText(c, "rng"), ": [rng-1 rng-2] and not ready []")
}

func TestOnlyServicesWithASelectorGetEndpoints(t *testing.T) {
	c := resting(t,
		service("by-hand", func(s *corev1.Service) { s.Spec.Selector = nil }),
		service("elsewhere", func(s *corev1.Service) {
			s.Spec.Type, s.Spec.ExternalName = corev1.ServiceTypeExternalName, "example.org"
		}),
		service("others", func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "geoip"} }),
		service("no-address-yet", nil),
		func() *corev1.Pod { p := runningPod(1, false); p.Status.PodIP = ""; return p }(),
	)

	for _, name := range []string{"by-hand", "elsewhere"} {
		wantText(t, slicesText(c, name), "")
		wantText(t, endpointsText(c, name), "none")
	}
	for _, name := range []string{"others", "no-address-yet"} {
		wantText(t, slicesText(c, name), ":")
		wantText(t, endpointsText(c, name), "")
	}
}

func TestSlicesAndEndpointsCarryTheLabelsOfTheirService(t *testing.T) {
	c := resting(t, service("rng", func(s *corev1.Service) { s.Labels["kubernetes.io/service-name"] = "other" }))

	slice := apiserver.List[*discoveryv1.EndpointSlice](c.store, "ns")[0]
	want := map[string]string{
		"app": "rng", "service.kubernetes.io/headless": "", "kubernetes.io/service-name": "rng",
		"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
	}
	if diff := cmp.Diff(want, slice.Labels); diff != "" {
		t.Error(diff)
	}
	if slice.AddressType != discoveryv1.AddressTypeIPv4 || slice.OwnerReferences[0].Name != "rng" || !strings.HasPrefix(slice.Name, "rng-") {
		t.Errorf("slice %+v", slice)
	}
	endpoints, _ := apiserver.Get[*endpointsObject](c.store, "ns", "rng")
	want = map[string]string{"app": "rng", "service.kubernetes.io/headless": "", "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
	if diff := cmp.Diff(want, endpoints.Labels); diff != "" {
		t.Error(diff)
	}
}

func TestASliceHoldsAHundredEndpointsAndKeepsThem(t *testing.T) {
	objects := []apiserver.Object{service("rng", func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromInt32(8081) })}
	for i := range 250 {
		objects = append(objects, runningPod(i, true))
	}
	c := resting(t, objects...)

	members := func() map[string][]string {
		of := make(map[string][]string)
		for _, slice := range apiserver.List[*discoveryv1.EndpointSlice](c.store, "ns") {
			for _, e := range slice.Endpoints {
				of[slice.Name] = append(of[slice.Name], e.TargetRef.Name)
			}
		}

		return of
	}
	sizes := func() (sizes []int) {
		for _, names := range members() {
			sizes = append(sizes, len(names))
		}
		slices.Sort(sizes)

		return sizes
	}
	if got := sizes(); !slices.Equal(got, []int{50, 100, 100}) {
		t.Fatalf("slices of %v", got)
	}
	before := members()

	// Two pods go, three come: two fill the gap, wherever it is.
	for i := range 2 {
		apiserver.Delete[*corev1.Pod](c.store, "ns", fmt.Sprintf("rng-%d", i))
	}
	for i := range 3 {
		if err := c.store.Put(runningPod(300+i, true)); err != nil {
			t.Fatal(err)
		}
	}
	reconcile(t, c)

	if got := sizes(); len(got) != 3 || got[0]+got[1]+got[2] != 251 || got[2] > 100 {
		t.Errorf("slices of %v", got)
	}
	for slice, names := range members() {
		for _, name := range names {
			if !slices.Contains(before[slice], name) && !strings.HasPrefix(name, "rng-30") {
				t.Errorf("%s has moved to %s", name, slice)
			}
		}
	}

	for i := range 250 {
		apiserver.Delete[*corev1.Pod](c.store, "ns", fmt.Sprintf("rng-%d", i))
	}
	reconcile(t, c)
	if total := len(slices.Concat(slices.Collect(maps.Values(members()))...)); total != 3 {
		t.Errorf("%d endpoints are left, want 3", total)
	}
	if got := len(apiserver.List[*discoveryv1.EndpointSlice](c.store, "ns")); got != len(members()) {
		t.Errorf("%d slices, of which %d have endpoints", got, len(members()))
	}
}

func TestWhatBelongsToADeletedServiceGoesAndWhatOthersMadeStays(t *testing.T) {
	foreign := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: "foreign", Labels: map[string]string{discoveryv1.LabelServiceName: "rng"},
	}, AddressType: discoveryv1.AddressTypeIPv4}
	byHand := &endpointsObject{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "by-hand"}}
	c := resting(t, service("rng", nil), runningPod(1, true), foreign, byHand)
	if got := len(apiserver.List[*discoveryv1.EndpointSlice](c.store, "ns")); got != 2 {
		t.Fatalf("%d slices, want 2", got)
	}

	apiserver.Delete[*corev1.Service](c.store, "ns", "rng")
	reconcile(t, c)

	left := apiserver.List[*discoveryv1.EndpointSlice](c.store, "ns")
	if len(left) != 1 || left[0].Name != "foreign" {
		t.Errorf("slices left: %v", left)
	}
	wantText(t, endpointsText(c, "rng"), "none")
	wantText(t, endpointsText(c, "by-hand"), "")
}

func TestAPodIsReadyInLivesOnlyOnceASliceSaysSo(t *testing.T) {
	onCluster(t, func(c *cluster) {
		c.put(deployment(1, nil))
		c.after(10 * time.Second)
		if life := c.Lives("ns")[0]; !life.ReadyAt.IsZero() {
			t.Errorf("ready without a slice: %+v", life)
		}
		c.put(service("rng", nil))
		if life := c.Lives("ns")[0]; life.ReadyAt.Sub(c.begun) != 10*time.Second {
			t.Errorf("ready at %v, want 10 s", life.ReadyAt.Sub(c.begun))
		}
		apiserver.Delete[*corev1.Service](c.store, "ns", "rng")
		synctest.Wait()
		if life := c.Lives("ns")[0]; life.UnreadyAt.Sub(c.begun) != 10*time.Second {
			t.Errorf("unready at %v, want 10 s", life.UnreadyAt)
		}
	})
}
