package apiserver

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// request is what an HTTP request asks for, in the terms in which RBAC judges it (upstream: RequestInfo).
type request struct {
	path string
	verb string // "get", "list" or "watch"; the HTTP method in lower case for what is not a resource
	// The rest is for resources; resource is "" if the path does not lead to one.
	schema.GroupVersion
	resource, subresource string
	namespace             string // of the path
	name                  string // of the path, else of a field selector that names exactly one object
	kind                  *kind  // nil if no such resource is served
	query                 url.Values
}

var verbOfMethod = map[string]string{
	http.MethodGet: "get", http.MethodHead: "get", http.MethodPost: "create", http.MethodPut: "update",
	http.MethodPatch: "patch", http.MethodDelete: "delete",
}

// parse reads the URL as upstream's RequestInfoFactory does. Any URL is a request for something: whether it exists is
// for later, after authorization.
func parse(method string, u *url.URL) *request {
	req := &request{path: u.Path, verb: strings.ToLower(method), query: u.Query()}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		req.Version, parts = parts[1], parts[2:]
	case len(parts) >= 4 && parts[0] == "apis":
		req.Group, req.Version, parts = parts[1], parts[2], parts[3:]
	default:
		return req
	}

	// The legacy form of a watch, still served by Kubernetes 1.36 and used by kuberesolver v5.
	legacyWatch := parts[0] == "watch"
	if legacyWatch {
		parts = parts[1:]
	}
	if len(parts) == 0 {
		return req
	}
	served := !slices.Contains(parts, "")
	// A namespace is within itself: so upstream's RBAC sees /api/v1/namespaces/NAME.
	if len(parts) > 1 && parts[0] == "namespaces" {
		req.namespace = parts[1]
		if len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" {
			parts = parts[2:]
		}
	}
	req.resource = parts[0]
	if len(parts) > 1 {
		req.name = parts[1]
	}
	if len(parts) > 2 {
		req.subresource = strings.Join(parts[2:], "/")
	}
	if k := kindAt(req.GroupVersion, req.resource); k != nil && served && k.fits(req) {
		req.kind = k
	}

	req.verb = verbOfMethod[method]
	switch {
	case legacyWatch:
		req.verb = "watch"
	case req.verb == "get" && req.name == "":
		req.verb = "list"
		if on := req.query["watch"]; len(on) > 0 && on[0] != "0" && !strings.EqualFold(on[0], "false") {
			req.verb = "watch"
		}
		// So a Role with resourceNames can allow a list or a watch of that one object.
		if selector, err := fields.ParseSelector(req.query.Get("fieldSelector")); err == nil {
			if name, exact := selector.RequiresExactMatch("metadata.name"); exact && len(content.IsPathSegmentName(name)) == 0 {
				req.name = name
			}
		}
	}
	return req
}

// fits reports whether the kind can stand where the path puts it. No subresource is served, and an object of a
// namespaced kind is found only within its namespace.
func (k *kind) fits(req *request) bool {
	switch {
	case req.subresource != "":
		return false
	case k.namespaced:
		return req.namespace != "" || req.name == ""
	}
	return req.namespace == "" || k.plural == "namespaces"
}

func (req *request) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: req.Group, Resource: req.resource}
}

// scope is the namespace in which the objects of the request are stored.
func (req *request) scope() string {
	if req.kind.namespaced {
		return req.namespace
	}
	return ""
}

// listOptions reads the query of a list or a watch, with upstream's own decoder, defaults and validation.
func (req *request) listOptions() (*internalversion.ListOptions, error) {
	options := &internalversion.ListOptions{}
	if err := scheme.ParameterCodec.DecodeParameters(req.query, metav1.SchemeGroupVersion, options); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	options.Watch = req.verb == "watch"
	internalversion.SetListOptionsDefaults(options, true)
	if errs := validation.ValidateListOptions(options, true); len(errs) > 0 {
		return nil, apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "ListOptions"}, "", errs)
	}
	if options.LabelSelector == nil {
		options.LabelSelector = labels.Everything()
	}
	if options.FieldSelector == nil {
		options.FieldSelector = fields.Everything()
	}
	selector, err := options.FieldSelector.Transform(runtime.DefaultMetaV1FieldSelectorConversion)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	options.FieldSelector = selector
	if req.name != "" {
		// A watch of one object is a watch of the objects with its name.
		if selected, exact := selector.RequiresExactMatch("metadata.name"); !selector.Empty() && (!exact || selected != req.name) {
			return nil, apierrors.NewBadRequest("fieldSelector metadata.name doesn't match requested name")
		}
		options.FieldSelector = fields.AndSelectors(selector, fields.OneTermEqualSelector("metadata.name", req.name))
	}
	return options, nil
}

func (req *request) selection(options *internalversion.ListOptions) selection {
	return selection{namespace: req.scope(), labels: options.LabelSelector, fields: options.FieldSelector}
}

// acceptsJSON reads an Accept header. Clauses that ask for another form of the answer, such as Table, do not count:
// clients that send them offer plain JSON as well.
func acceptsJSON(header []string) bool {
	accept := strings.Join(header, ",")
	if strings.TrimSpace(accept) == "" {
		return true
	}
	return slices.ContainsFunc(strings.Split(accept, ","), func(clause string) bool {
		mediaType, parameters, _ := strings.Cut(clause, ";")
		switch strings.ToLower(strings.TrimSpace(mediaType)) {
		case "application/json", "application/*", "*/*":
		default:
			return false
		}
		return !slices.ContainsFunc(strings.Split(parameters, ";"), func(parameter string) bool {
			name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
			switch strings.ToLower(name) {
			case "as", "g", "v", "sv":
				return true
			case "stream":
				return value != "watch"
			}
			return false
		})
	})
}
