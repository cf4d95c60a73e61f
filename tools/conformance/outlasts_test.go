package conformance_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/evenkeel/evenkeel/tools/conformance"
)

func TestOutlastsWantsTheEndpointsToStayAndTheChangeToBeSeen(t *testing.T) {
	type function = func(context.Context) error
	for name, test := range map[string]struct {
		trouble func(context.Context, *conformance.StandIn, function) error
		want    string // part of the result
	}{
		"an outage": {func(ctx context.Context, s *conformance.StandIn, change function) error {
			if err := s.SetOutage(conformance.Refusing); err != nil {
				return err
			}
			<-time.After(30 * time.Second)
			if err := s.SetOutage(conformance.Up); err != nil {
				return err
			}

			return change(ctx)
		}, "pass"},
		"no change": {func(context.Context, *conformance.StandIn, function) error { return nil }, "instead of 10.0.0.2:8081, 10.0.0.4:8081"},
		"endpoints that go": {func(ctx context.Context, s *conformance.StandIn, change function) error {
			lost := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace(), Name: "rng-b"}}
			if err := s.Delete(ctx, lost); err != nil {
				return err
			}
			<-time.After(time.Second)

			return change(ctx)
		}, "10.0.0.1:8081, 10.0.0.2:8081, and 10.0.0.1:8081, 10.0.0.2:8081, 10.0.0.3:8081 should have stayed"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				cluster := conformance.Memory()
				defer cluster.Close()
				b := conformance.Outlasts(name, func(ctx context.Context, change func(context.Context) error) error {
					return test.trouble(ctx, cluster, change)
				})
				if result := conformance.Run(t.Context(), b, conformance.Endpointslice(), cluster, folder); !strings.Contains(result.String(), test.want) {
					t.Errorf("%s, want %s", result, test.want)
				}
			})
		})
	}
}
