package probe_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/evenkeel/evenkeel/tools/lab/local/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errSick = errors.New("sick")

// Each answer is a letter: g for good, b for bad, t for none before the timeout. Each report is +SECOND or -SECOND.
func TestVerdictsComeOnTheKubeletsScheduleAndThresholds(t *testing.T) {
	for _, tt := range []struct {
		name             string
		delay            int
		period           int32
		success, failure int32
		answers          string
		want             []string
	}{
		{"healthy from the first answer", 0, 10, 1, 3, "ggg", []string{"+0"}},
		{"waits for the delay", 7, 10, 1, 1, "g", []string{"+7"}},
		{"a first failure below the threshold says nothing", 0, 10, 1, 3, "bbg", []string{"+20"}},
		{"failures up to the threshold", 0, 10, 1, 3, "gbbbb", []string{"+0", "-30"}},
		{"a success between starts the count again", 0, 10, 1, 3, "gbbgbb", []string{"+0"}},
		{"successes up to the threshold", 0, 2, 3, 1, "ggbggg", []string{"-4", "+10"}},
		{"never healthy is reported once", 0, 5, 1, 2, "bbbbb", []string{"-5"}},
		{"no answer in time is a failure", 0, 10, 1, 2, "gtt", []string{"+0", "-23"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				ctx, cancel := context.WithCancel(t.Context())
				answers := []byte(tt.answers)
				check := func(ctx context.Context) error {
					if len(answers) == 0 {
						cancel()

						return nil
					}
					answer := answers[0]
					answers = answers[1:]
					switch answer {
					case 'b':
						return errSick
					case 't':
						<-ctx.Done()

						return ctx.Err()
					default:
						return nil
					}
				}
				var got []string
				spec := &corev1.Probe{PeriodSeconds: tt.period, TimeoutSeconds: 3, SuccessThreshold: tt.success, FailureThreshold: tt.failure}

				probe.Run(ctx, spec, time.Duration(tt.delay)*time.Second, check, func(err error) {
					sign := "+"
					if err != nil {
						sign = "-"
					}
					got = append(got, fmt.Sprint(sign, int(time.Since(start).Seconds())))
				})

				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestAProbeCutShortByTheEndHasNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		spec := &corev1.Probe{PeriodSeconds: 1, TimeoutSeconds: 10, SuccessThreshold: 1, FailureThreshold: 1}

		probe.Run(ctx, spec, 0, func(ctx context.Context) error {
			<-ctx.Done()

			return ctx.Err()
		}, func(err error) { t.Errorf("reported %v", err) })
	})
}

func TestGRPCProbesAskTheHealthServiceOfThePod(t *testing.T) {
	checker := health.NewServer()
	checker.SetServingStatus("rng", healthv1.HealthCheckResponse_SERVING)
	checker.SetServingStatus("geoip", healthv1.HealthCheckResponse_NOT_SERVING)
	server := grpc.NewServer()
	healthv1.RegisterHealthServer(server, checker)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listener)
	defer server.Stop()
	at := netip.MustParseAddrPort(listener.Addr().String())

	for _, tt := range []struct {
		name    string
		service *string
		port    netip.AddrPort
		want    string
	}{
		{"the server as a whole", nil, at, ""},
		{"a service that serves", new("rng"), at, ""},
		{"a service that does not", new("geoip"), at, `service "geoip" is NOT_SERVING`},
		{"a service that it does not know", new("other"), at, `service "other": NotFound`},
		{"nobody there", nil, netip.MustParseAddrPort("127.0.0.1:1"), "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := check(t, &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
				GRPC: &corev1.GRPCAction{Port: int32(tt.port.Port()), Service: tt.service},
			}}, nil)
			wantError(t, err, tt.want)
		})
	}
}

func TestHTTPProbesTakeAnyStatusBelow400(t *testing.T) {
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	defer elsewhere.Close()
	mux := http.NewServeMux()
	for path, code := range map[string]int{"/ok": 200, "/no-content": 204, "/not-modified": 304, "/missing": 404, "/broken": 503} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	mux.Handle("/to-broken", http.RedirectHandler("/broken", http.StatusFound))
	mux.Handle("/elsewhere", http.RedirectHandler(strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1), http.StatusFound))
	mux.Handle("/round", http.RedirectHandler("/round", http.StatusFound))
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "rng.test" || r.Header.Get("X-Probe") != "yes" || r.URL.RawQuery != "a=b" || !strings.HasPrefix(r.UserAgent(), "kube-probe/") {
			w.WriteHeader(http.StatusTeapot)
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(address.Host)
	ports := []corev1.ContainerPort{{Name: "http-admin", ContainerPort: int32(at.Port())}}

	for _, tt := range []struct {
		path, port, want string
	}{
		{"/ok", "http-admin", ""},
		{"/no-content", "http-admin", ""},
		{"/not-modified", "http-admin", ""},
		{"/elsewhere", "http-admin", ""},
		{"/headers?a=b", "http-admin", ""},
		{"/missing", "http-admin", "/missing: 404"},
		{"/broken", "http-admin", "/broken: 503"},
		{"/to-broken", "http-admin", "503"},
		{"/round", "http-admin", "stopped after 10 redirects"},
		{"/ok", "metrics", `port "metrics": no container has`},
		{"/%zz", "http-admin", `path "/%zz"`},
		{"/ok", fmt.Sprint(at.Port()), ""},
	} {
		t.Run(tt.path+" "+tt.port, func(t *testing.T) {
			err := check(t, &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
				Path: tt.path, Port: intstr.FromString(tt.port),
				HTTPHeaders: []corev1.HTTPHeader{{Name: "host", Value: "rng.test"}, {Name: "X-Probe", Value: "yes"}},
			}}}, ports)
			wantError(t, err, tt.want)
		})
	}
}

func TestHTTPSProbesTakeAnyCertificate(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	at := server.Listener.Addr().(*net.TCPAddr)

	err := check(t, &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
		Path: "/", Port: intstr.FromInt(at.Port), Scheme: corev1.URISchemeHTTPS,
	}}}, nil)
	if err != nil {
		t.Error(err)
	}
}

func check(t *testing.T, spec *corev1.Probe, ports []corev1.ContainerPort) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	pod := &corev1.Pod{
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Ports: slices.Clone(ports)}}},
		Status: corev1.PodStatus{PodIP: "127.0.0.1"},
	}

	return probe.Network{}.Check(ctx, pod, spec)
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("got %v, want none", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v, want one with %q", err, want)
	}
}
