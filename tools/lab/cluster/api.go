package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
)

// manager is who has applied an object, as managedFields say.
const manager = "evenkeel-lab"

// api is the Kubernetes API, with as many kinds as an overlay may have: client-go's typed clients would bring all of them.
type api struct {
	config  *rest.Config
	scheme  *runtime.Scheme
	clients map[schema.GroupVersion]rest.Interface
}

func newAPI(config *rest.Config, log func(string)) (*api, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = 50, 100 // several overlays are acted upon at once
	config.UserAgent = rest.DefaultKubernetesUserAgent()
	config.WarningHandler = warnings(log)
	a := &api{config: config, scheme: runtime.NewScheme(), clients: map[schema.GroupVersion]rest.Interface{}}
	metav1.AddToGroupVersion(a.scheme, schema.GroupVersion{Version: "v1"})
	for version, add := range map[schema.GroupVersion]func(*runtime.Scheme) error{
		corev1.SchemeGroupVersion: corev1.AddToScheme, appsv1.SchemeGroupVersion: appsv1.AddToScheme,
		discoveryv1.SchemeGroupVersion: discoveryv1.AddToScheme, policyv1.SchemeGroupVersion: policyv1.AddToScheme,
		rbacv1.SchemeGroupVersion: rbacv1.AddToScheme,
	} {
		if err := add(a.scheme); err != nil {
			return nil, err
		}
		metav1.AddToGroupVersion(a.scheme, version)
		c := rest.CopyConfig(config)
		c.GroupVersion, c.APIPath = &version, "/apis"
		if version.Group == "" {
			c.APIPath = "/api"
		}
		c.NegotiatedSerializer = serializer.NewCodecFactory(a.scheme).WithoutConversion()
		client, err := rest.RESTClientFor(c)
		if err != nil {
			return nil, err
		}
		a.clients[version] = client
	}

	return a, nil
}

// warnings hands the API server's warnings on.
type warnings func(string)

// HandleWarningHeader is rest.WarningHandler's.
func (w warnings) HandleWarningHeader(_ int, _ string, text string) {
	w("the API server warns: " + text)
}

// resource is where objects of a kind are.
type resource struct {
	version    schema.GroupVersion
	name       string
	namespaced bool
}

// resourceOf guesses well for the kinds that there are.
func (a *api) resourceOf(object runtime.Object) resource {
	kinds, _, err := a.scheme.ObjectKinds(object)
	if err != nil {
		panic(err) // a kind that newAPI has not added
	}
	plural, _ := meta.UnsafeGuessKindToResource(kinds[0])

	return resource{kinds[0].GroupVersion(), plural.Resource, namespaced(object)}
}

// namespaced says whether objects of that kind are in a namespace.
func namespaced(object runtime.Object) bool {
	switch object.(type) {
	case *corev1.Namespace, *corev1.Node, *rbacv1.ClusterRole, *rbacv1.ClusterRoleBinding:
		return false
	default:
		return true
	}
}

// about is a request about an object.
func (a *api) about(verb string, object runtime.Object) *rest.Request {
	at := a.resourceOf(object)
	named, err := meta.Accessor(object)
	if err != nil {
		panic(err) // all kinds have metadata
	}

	return a.clients[at.version].Verb(verb).Resource(at.name).Name(named.GetName()).
		NamespaceIfScoped(named.GetNamespace(), at.namespaced)
}

// apply makes an object, or makes it what is given (server-side apply, KEP-555).
func (a *api) apply(ctx context.Context, object runtime.Object) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return err
	}
	kinds, _, err := a.scheme.ObjectKinds(object)
	if err != nil {
		return err
	}
	fields["apiVersion"], fields["kind"] = kinds[0].GroupVersion().String(), kinds[0].Kind
	delete(fields, "status") // is the controllers'
	body, err := json.Marshal(fields)
	if err != nil {
		return err
	}

	return a.about(http.MethodPatch, object).SetHeader("Content-Type", string(types.ApplyYAMLPatchType)).
		Param("fieldManager", manager).Param("force", "true").Body(body).Do(ctx).Error()
}

// get reads an object that has its name, and says whether it is there.
func (a *api) get(ctx context.Context, object runtime.Object) (bool, error) {
	err := a.about(http.MethodGet, object).Do(ctx).Into(object)
	if apierrors.IsNotFound(err) {
		return false, nil
	}

	return err == nil, err
}

// merge changes fields of an object (RFC 7386), which becomes what it is then.
func (a *api) merge(ctx context.Context, object runtime.Object, fields map[string]any) error {
	body, err := json.Marshal(fields)
	if err != nil {
		return err
	}

	return a.about(http.MethodPatch, object).
		SetHeader("Content-Type", string(types.MergePatchType)).Param("fieldManager", manager).Body(body).Do(ctx).Error()
}

// delete deletes an object, if it is there.
func (a *api) delete(ctx context.Context, object runtime.Object, options metav1.DeleteOptions) error {
	options.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"}
	body, err := json.Marshal(options)
	if err != nil {
		return err
	}
	err = a.about(http.MethodDelete, object).SetHeader("Content-Type", runtime.ContentTypeJSON).Body(body).Do(ctx).Error()
	if apierrors.IsNotFound(err) {
		return nil
	}

	return err
}

// evict asks a pod to leave, as far as its PodDisruptionBudget lets it. It says false if that does not now.
func (a *api) evict(ctx context.Context, pod *corev1.Pod) (bool, error) {
	body, err := json.Marshal(policyv1.Eviction{
		TypeMeta:   metav1.TypeMeta{APIVersion: policyv1.SchemeGroupVersion.String(), Kind: "Eviction"},
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
	})
	if err != nil {
		return false, err
	}
	err = a.about(http.MethodPost, pod).SubResource("eviction").SetHeader("Content-Type", runtime.ContentTypeJSON).
		Body(body).Do(ctx).Error()
	switch {
	case err == nil, apierrors.IsNotFound(err):
		return true, nil
	case apierrors.IsTooManyRequests(err):
		return false, nil
	default:
		return false, err
	}
}

// until asks until a condition holds. It bears errors for as long as ctx lasts: an API server may be away.
func (a *api) until(ctx context.Context, otherwise string, condition func(context.Context) (bool, error)) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		var holds bool
		holds, last = condition(ctx)

		return holds, nil
	})
	if err != nil && last != nil {
		return fmt.Errorf("%s: %w", otherwise, last)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", otherwise, context.Cause(ctx))
	}

	return nil
}
