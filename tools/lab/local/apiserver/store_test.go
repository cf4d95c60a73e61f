package apiserver_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/lab/local/apiserver"
)

func configMap(namespace, name string, data ...string) *corev1.ConfigMap {
	c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if len(data) > 0 {
		c.Data = map[string]string{"value": data[0]}
	}
	return c
}

func put(t *testing.T, s *apiserver.Store, objects ...apiserver.Object) {
	t.Helper()
	for _, obj := range objects {
		if err := s.Put(obj); err != nil {
			t.Fatal(err)
		}
	}
}

func mustGet[T apiserver.Object](t *testing.T, s *apiserver.Store, namespace, name string) T {
	t.Helper()
	obj, ok := apiserver.Get[T](s, namespace, name)
	if !ok {
		t.Fatalf("%T %s/%s is not in the store", obj, namespace, name)
	}
	return obj
}

func revisionOf(t *testing.T, obj apiserver.Object) int {
	t.Helper()
	revision, err := strconv.Atoi(obj.GetResourceVersion())
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func TestANewObjectGetsUIDCreationTimeAndRevision(t *testing.T) {
	s := apiserver.NewStore()
	mine := configMap("ns", "a", "1")
	put(t, s, mine)
	got := mustGet[*corev1.ConfigMap](t, s, "ns", "a")
	if got.UID == "" || got.CreationTimestamp.IsZero() || revisionOf(t, got) != 2 {
		t.Errorf("uid %q, created %v, resourceVersion %q: want all set, and the first revision after an empty store's 1", got.UID, got.CreationTimestamp, got.ResourceVersion)
	}
	if mine.UID != "" || mine.ResourceVersion != "" {
		t.Error("Put changed the object of its caller")
	}
}

func TestReplacingKeepsIdentityAndMovesTheRevision(t *testing.T) {
	s := apiserver.NewStore()
	put(t, s, configMap("ns", "a", "1"), configMap("ns", "b", "1"))
	before := mustGet[*corev1.ConfigMap](t, s, "ns", "a")
	replacement := configMap("ns", "a", "2")
	replacement.UID = "made-up"
	put(t, s, replacement)
	after := mustGet[*corev1.ConfigMap](t, s, "ns", "a")
	if after.UID != before.UID || !after.CreationTimestamp.Equal(&before.CreationTimestamp) {
		t.Errorf("identity changed: %v to %v", before.ObjectMeta, after.ObjectMeta)
	}
	if revisionOf(t, after) != 4 || after.Data["value"] != "2" {
		t.Errorf("got revision %s and %v, want 4 (after those of both objects) and value 2", after.ResourceVersion, after.Data)
	}
	apiserver.Delete[*corev1.ConfigMap](s, "ns", "a")
	put(t, s, replacement)
	if again := mustGet[*corev1.ConfigMap](t, s, "ns", "a"); again.UID == before.UID || again.UID == "made-up" {
		t.Errorf("an object that is created anew has the UID %q of its predecessor or its caller", again.UID)
	}
}

func TestPuttingTheSameAgainChangesNothing(t *testing.T) {
	s := apiserver.NewStore()
	put(t, s, configMap("ns", "a", "1"))
	before := mustGet[*corev1.ConfigMap](t, s, "ns", "a")
	changed := s.Changed()
	same := configMap("ns", "a", "1")
	same.TypeMeta = metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"} // as decoded from a manifest
	put(t, s, same, before)
	select {
	case <-changed:
		t.Error("there was a change")
	default:
	}
	if diff := cmp.Diff(before, mustGet[*corev1.ConfigMap](t, s, "ns", "a")); diff != "" {
		t.Error(diff)
	}
}

func TestChangedClosesOnEveryKindOfChange(t *testing.T) {
	s := apiserver.NewStore()
	for name, change := range map[string]func(){
		"create":  func() { put(t, s, configMap("ns", "new")) },
		"replace": func() { put(t, s, configMap("ns", "a", "2")) },
		"delete":  func() { apiserver.Delete[*corev1.ConfigMap](s, "ns", "a") },
	} {
		put(t, s, configMap("ns", "a", "1"))
		changed := s.Changed()
		change()
		select {
		case <-changed:
		default:
			t.Errorf("%s: the channel is still open", name)
		}
	}
}

func TestReadersGetCopies(t *testing.T) {
	s := apiserver.NewStore()
	put(t, s, configMap("ns", "a", "1"))
	mustGet[*corev1.ConfigMap](t, s, "ns", "a").Data["value"] = "changed"
	apiserver.List[*corev1.ConfigMap](s, "")[0].Data["value"] = "changed"
	if got := mustGet[*corev1.ConfigMap](t, s, "ns", "a").Data["value"]; got != "1" {
		t.Errorf("value is %q in the store: a reader changed it", got)
	}
}

func TestListIsSortedAndOfOneNamespaceOrAll(t *testing.T) {
	s := apiserver.NewStore()
	put(t, s, configMap("b", "y"), configMap("a", "z"), configMap("b", "x"), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "pod"}})
	names := func(namespace string) (names []string) {
		for _, each := range apiserver.List[*corev1.ConfigMap](s, namespace) {
			names = append(names, each.Namespace+"/"+each.Name)
		}
		return names
	}
	if diff := cmp.Diff([]string{"a/z", "b/x", "b/y"}, names("")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"b/x", "b/y"}, names("b")); diff != "" {
		t.Error(diff)
	}
	if got := names("none"); len(got) != 0 {
		t.Errorf("an empty namespace lists %v", got)
	}
}

func TestDeleteSaysWhetherTheObjectWasThere(t *testing.T) {
	s := apiserver.NewStore()
	put(t, s, configMap("ns", "a"))
	if !apiserver.Delete[*corev1.ConfigMap](s, "ns", "a") || apiserver.Delete[*corev1.ConfigMap](s, "ns", "a") {
		t.Error("want true and then false")
	}
	if _, ok := apiserver.Get[*corev1.ConfigMap](s, "ns", "a"); ok {
		t.Error("it is still there")
	}
}

func TestUpdateLosesNoConcurrentChange(t *testing.T) {
	s := apiserver.NewStore()
	put(t, s, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "rng"}})
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 25 {
				if _, err := apiserver.Update(s, "ns", "rng", func(d *appsv1.Deployment) { d.Status.Replicas++ }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if got := mustGet[*appsv1.Deployment](t, s, "ns", "rng").Status.Replicas; got != 200 {
		t.Errorf("200 updates left %d", got)
	}
	if found, err := apiserver.Update(s, "ns", "none", func(*appsv1.Deployment) {}); found || err != nil {
		t.Errorf("an update of nothing: found %v, error %v", found, err)
	}
	if _, err := apiserver.Update(s, "ns", "rng", func(d *appsv1.Deployment) { d.Name = "other" }); err == nil {
		t.Error("an update renamed its object")
	}
}

func TestPutRefusesWhatItCannotServe(t *testing.T) {
	var none *corev1.Pod
	for name, test := range map[string]struct {
		obj  apiserver.Object
		want string
	}{
		"a kind that is not served":                {&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a"}}, "*v1.Secret is not served: ConfigMap, Endpoints, Namespace"},
		"no object":                                {nil, "there is no object to put"},
		"a nil object":                             {none, "there is no object to put"},
		"no name":                                  {configMap("ns", ""), `ConfigMap in namespace "ns" has no name`},
		"a name that cannot be in a path":          {configMap("ns", "a/b"), `ConfigMap "a/b" in namespace "ns": "a/b" may not contain '/'`},
		"a namespace that cannot be in a path":     {configMap("..", "a"), `may not be '..'`},
		"no namespace, but the kind needs one":     {configMap("", "a"), `ConfigMap "a" has no namespace and needs one`},
		"a namespace, but the kind cannot have it": {&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a"}}, `ClusterRole "a" is in namespace "ns", but its kind is cluster-scoped`},
	} {
		t.Run(name, func(t *testing.T) {
			err := apiserver.NewStore().Put(test.obj)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestTheStoreWithstandsConcurrentUse(t *testing.T) {
	s := apiserver.NewStore()
	var users sync.WaitGroup
	for i := range 4 {
		users.Go(func() {
			for j := range 100 {
				name := fmt.Sprint("c", j%10)
				if err := s.Put(configMap("ns", name, fmt.Sprint(i, j))); err != nil {
					t.Error(err)
				}
				apiserver.List[*corev1.ConfigMap](s, "ns")
				if j%7 == 0 {
					apiserver.Delete[*corev1.ConfigMap](s, "ns", name)
				}
			}
		})
	}
	users.Wait()
}
