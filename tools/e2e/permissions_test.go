//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// mayDoWhatRolesSay compares all that `kubectl auth can-i --list` says of each ServiceAccount. What it says of one that
// nobody knows is what everybody may do.
func (o overlay) mayDoWhatRolesSay(t *testing.T) {
	canDo := func(account string) []string {
		out := must(t, "auth", "can-i", "--list", "--as=system:serviceaccount:"+o.name+":"+account, "-n", o.name)
		var lines []string
		for line := range strings.Lines(out) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		slices.Sort(lines)

		return lines
	}
	everybody := canDo("nobody")
	roles, err := api.RbacV1().Roles(o.name).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	client := slices.Clone(everybody)
	for _, role := range roles.Items {
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				name := strings.TrimSuffix(resource+"."+rule.APIGroups[0], ".")
				names := rule.ResourceNames // each has a line of its own
				if len(names) == 0 {
					names = []string{""}
				}
				for _, one := range names {
					client = append(client, fmt.Sprintf("%s [] [%s] [%s]", name, one, strings.Join(rule.Verbs, " ")))
				}
			}
		}
	}
	slices.Sort(client)
	for account, want := range map[string][]string{"rng": everybody, "geoip": everybody, "client": client} {
		if diff := cmp.Diff(want, canDo(account)); diff != "" {
			t.Errorf("%s:\n%s", account, diff)
		}
	}
}

// tokenFolder is where a pod finds its token for the API.
const tokenFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

func (o overlay) hasTokensWhereNeeded(t *testing.T) {
	roles, err := api.RbacV1().Roles(o.name).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	watches := len(roles.Items) > 0
	for _, workload := range append([]string{"client"}, services...) {
		pods, err := o.pods(t.Context(), workload)
		if err != nil {
			t.Fatal(err)
		}
		if len(pods) == 0 {
			t.Errorf("%s has no pod", workload)
		}
		for _, pod := range pods {
			mounted := false
			for _, mount := range pod.Spec.Containers[0].VolumeMounts {
				mounted = mounted || mount.MountPath == tokenFolder
			}
			if needed := workload == "client" && watches; mounted != needed {
				t.Errorf("%s has a token: %t, needs one: %t", pod.Name, mounted, needed)
			}
		}
	}
}

// saysWhatItLacks takes the permission away, and wants the client to say what it lacks: in its log, and in the report that
// people look at first. It is the last test of an overlay.
func (o overlay) saysWhatItLacks(t *testing.T) {
	roles, err := api.RbacV1().Roles(o.name).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(roles.Items) == 0 {
		return // it needs no permission
	}
	report, err := o.report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	must(t, "-n", o.name, "delete", "rolebinding", "client")
	must(t, "-n", o.name, "rollout", "restart", "deployment/client")
	must(t, "-n", o.name, "rollout", "status", "deployment/client", "--timeout=2m")

	var inLog, inReport []string
	if strings.HasPrefix(report["rng"].Target, "kubernetes:") {
		// kuberesolver tells gRPC nothing, so that RPCs wait until they time out, and its log has no verb.
		inLog, inReport = []string{"invalid response code 403 for service rng-headless"}, []string{"DeadlineExceeded"}
	} else {
		rule := roles.Items[0].Rules[0]
		inReport = append(slices.Clone(rule.Verbs), rule.Resources[0], "forbidden", "Role")
		inLog = inReport
	}
	if err := eventually(t.Context(), func(ctx context.Context) error {
		report, err := o.report(ctx)
		if err != nil {
			return err
		}

		return lacksNone(report["rng"].LastError, inReport)
	}); err != nil {
		t.Errorf("the report: %v", err)
	}
	if err := eventually(t.Context(), func(ctx context.Context) error {
		log, err := kubectl(ctx, "-n", o.name, "logs", "deployment/client")
		if err != nil {
			return err
		}

		return lacksNone(log, inLog)
	}); err != nil {
		t.Errorf("the log: %v", err)
	}
}

func lacksNone(text string, parts []string) error {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return fmt.Errorf("does not say %q: %q", part, text)
		}
	}

	return nil
}
