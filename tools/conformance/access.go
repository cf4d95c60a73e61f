package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

func (s *stage) role() (*rbacv1.Role, *rbacv1.RoleBinding) {
	meta := metav1.ObjectMeta{Namespace: s.service.namespace, Name: serviceAccount}
	role := &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{"discovery.k8s.io"}, Resources: []string{"endpointslices"}},
		{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{""}, Resources: []string{"endpoints"}},
	}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: meta,
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.service.namespace, Name: serviceAccount}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: serviceAccount},
	}

	return role, binding
}

// permit lets the client read slices and Endpoints.
func (s *stage) permit(ctx context.Context) error {
	role, binding := s.role()
	if err := errors.Join(s.cluster.Put(ctx, role), s.cluster.Put(ctx, binding)); err != nil {
		return fmt.Errorf("write the Role: %w", err)
	}

	return s.answers(ctx, http.StatusOK)
}

// forbid takes that away.
func (s *stage) forbid(ctx context.Context) error {
	role, binding := s.role()
	if err := errors.Join(s.cluster.Delete(ctx, binding), s.cluster.Delete(ctx, role)); err != nil {
		return fmt.Errorf("delete the Role: %w", err)
	}

	return s.answers(ctx, http.StatusForbidden)
}

// answers waits until the API answers the client so. A real server's authorizer follows the API with a delay.
func (s *stage) answers(ctx context.Context, code int) error {
	access := rest.CopyConfig(s.cluster.REST())
	access.BearerToken = s.token
	client, err := rest.HTTPClientFor(access)
	if err != nil {
		return fmt.Errorf("make a client for the API: %w", err)
	}
	defer utilnet.CloseIdleConnectionsFor(client.Transport)
	address := access.Host + "/apis/discovery.k8s.io/v1/namespaces/" + s.service.namespace + "/endpointslices?limit=1"
	for start := time.Now(); ; {
		got, err := askFor(ctx, client, address)
		switch {
		case err != nil:
			return fmt.Errorf("ask for the client's permission: %w", err)
		case got == code:
			return nil
		case time.Since(start) > s.limit(recovery):
			return fmt.Errorf("after %v s the API answers the client with HTTP %d instead of %d", s.limit(recovery).Seconds(), got, code)
		}
		pass(ctx, 10*time.Millisecond)
	}
}

// askFor returns the HTTP status with which an address is answered.
func askFor(ctx context.Context, client *http.Client, address string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body) // so that the connection can be used again

	return response.StatusCode, err
}

// renewToken puts a new token into the client's file. The old one stays valid.
func (s *stage) renewToken(ctx context.Context) error {
	token, err := s.cluster.IssueToken(ctx, s.service.namespace, serviceAccount)
	if err != nil {
		return fmt.Errorf("issue a token: %w", err)
	}
	// As the kubelet does: the file is replaced, so that nobody reads half of it.
	next := s.tokenFile + ".next"
	if err := os.WriteFile(next, []byte(token), 0o600); err != nil {
		return fmt.Errorf("write the token: %w", err)
	}
	if err := os.Rename(next, s.tokenFile); err != nil {
		return fmt.Errorf("write the token: %w", err)
	}
	s.token = token

	return nil
}
