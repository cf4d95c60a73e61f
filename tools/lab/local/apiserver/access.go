package apiserver

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// user is whom a token stands for. The zero user is nobody: a request without a token.
type user struct {
	namespace string
	name      string
	groups    []string
}

// IssueToken returns a new bearer token for a service account, which need not exist in the Store. Earlier tokens stay
// valid.
func (s *Server) IssueToken(namespace, serviceAccount string) string {
	token := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = user{
		namespace: namespace,
		name:      serviceAccountUser(namespace, serviceAccount),
		groups:    []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	return token
}

// RevokeToken makes requests with the token fail with 401, as with an expired one. Watches that it opened go on, as
// on a real server.
func (s *Server) RevokeToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, token)
}

// What every cluster allows to anyone, and to users, by its ClusterRoles system:public-info-viewer and system:discovery.
var (
	publicInfo = []rbacv1.PolicyRule{{
		Verbs:           []string{"get"},
		NonResourceURLs: []string{"/livez", "/readyz", "/healthz", "/version", "/version/"},
	}}
	discovery = []rbacv1.PolicyRule{{
		Verbs:           []string{"get"},
		NonResourceURLs: []string{"/openapi", "/openapi/*", "/api", "/api/*", "/apis", "/apis/*"},
	}}
)

// authenticate finds the user of a request. As upstream, what is not a bearer token counts as no token.
func (s *Server) authenticate(header http.Header, req *request) (user, error) {
	scheme, token, _ := strings.Cut(strings.TrimSpace(header.Get("Authorization")), " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		if req.allowedBy(publicInfo) {
			return user{}, nil
		}
		return user{}, apierrors.NewUnauthorized("Unauthorized")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u, known := s.tokens[token]
	if !known {
		return user{}, apierrors.NewUnauthorized("Unauthorized")
	}
	return u, nil
}

// authorize judges a request by the RBAC objects in the Store at this moment, as upstream's RBACAuthorizer does.
func (s *Server) authorize(u user, req *request) error {
	if req.allowedBy(publicInfo) || req.allowedBy(discovery) {
		return nil
	}
	// A binding to a role that does not exist grants nothing, and the refusal says so.
	var dangling []error
	grants := func(ref rbacv1.RoleRef, namespace string) bool {
		rules, err := s.rulesOf(ref, namespace)
		if err != nil {
			dangling = append(dangling, err)
		}
		return req.allowedBy(rules)
	}
	for _, binding := range everyObject[*rbacv1.ClusterRoleBinding](s.store, "") {
		if u.isAmong(binding.Subjects, "") && grants(binding.RoleRef, "") {
			return nil
		}
	}
	if req.namespace != "" {
		for _, binding := range everyObject[*rbacv1.RoleBinding](s.store, req.namespace) {
			if u.isAmong(binding.Subjects, req.namespace) && grants(binding.RoleRef, req.namespace) {
				return nil
			}
		}
	}
	return forbidden(u, req, dangling)
}

func (s *Server) rulesOf(ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
	switch ref.Kind {
	case "Role":
		if role, found := theObject[*rbacv1.Role](s.store, namespace, ref.Name); found {
			return role.Rules, nil
		}
		return nil, apierrors.NewNotFound(schema.GroupResource{Group: rbacv1.GroupName, Resource: "role"}, ref.Name)
	case "ClusterRole":
		if role, found := theObject[*rbacv1.ClusterRole](s.store, "", ref.Name); found {
			return role.Rules, nil
		}
		return nil, apierrors.NewNotFound(schema.GroupResource{Group: rbacv1.GroupName, Resource: "clusterrole"}, ref.Name)
	}
	return nil, fmt.Errorf("unsupported role reference kind: %q", ref.Kind)
}

// isAmong takes the namespace of the binding for a service account that does not name its own.
func (u user) isAmong(subjects []rbacv1.Subject, namespace string) bool {
	return slices.ContainsFunc(subjects, func(subject rbacv1.Subject) bool {
		switch subject.Kind {
		case rbacv1.UserKind:
			return u.name == subject.Name
		case rbacv1.GroupKind:
			return slices.Contains(u.groups, subject.Name)
		case rbacv1.ServiceAccountKind:
			home := subject.Namespace
			if home == "" {
				home = namespace
			}
			return home != "" && u.name == serviceAccountUser(home, subject.Name)
		}
		return false
	})
}

func serviceAccountUser(namespace, name string) string {
	return "system:serviceaccount:" + namespace + ":" + name
}

func (req *request) allowedBy(rules []rbacv1.PolicyRule) bool {
	return slices.ContainsFunc(rules, func(rule rbacv1.PolicyRule) bool {
		if !slices.Contains(rule.Verbs, req.verb) && !slices.Contains(rule.Verbs, rbacv1.VerbAll) {
			return false
		}
		if req.resource == "" {
			return slices.ContainsFunc(rule.NonResourceURLs, req.pathMatches)
		}
		return (slices.Contains(rule.APIGroups, req.Group) || slices.Contains(rule.APIGroups, rbacv1.APIGroupAll)) &&
			slices.ContainsFunc(rule.Resources, req.resourceMatches) &&
			(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, req.name))
	})
}

func (req *request) pathMatches(pattern string) bool {
	if prefix, wild := strings.CutSuffix(pattern, "*"); wild {
		return strings.HasPrefix(req.path, prefix)
	}
	return req.path == pattern
}

func (req *request) resourceMatches(resource string) bool {
	if req.subresource == "" {
		return resource == req.resource || resource == rbacv1.ResourceAll
	}
	return resource == rbacv1.ResourceAll || resource == req.resource+"/"+req.subresource || resource == "*/"+req.subresource
}

func forbidden(u user, req *request, dangling []error) error {
	var refusal string
	if req.resource == "" {
		refusal = fmt.Sprintf("User %q cannot %s path %q", u.name, req.verb, req.path)
	} else {
		resource := req.resource
		if req.subresource != "" {
			resource += "/" + req.subresource
		}
		refusal = fmt.Sprintf("User %q cannot %s resource %q in API group %q", u.name, req.verb, resource, req.Group)
		if req.namespace != "" {
			refusal += fmt.Sprintf(" in the namespace %q", req.namespace)
		} else {
			refusal += " at the cluster scope"
		}
	}
	// Upstream does so too: a browser must not take the message for HTML.
	refusal = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(refusal)
	if len(dangling) > 0 {
		refusal += fmt.Sprintf(": RBAC: %v", utilerrors.NewAggregate(dangling))
	}
	return apierrors.NewForbidden(req.groupResource(), req.name, errors.New(refusal))
}
