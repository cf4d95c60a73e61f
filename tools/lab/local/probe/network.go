package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// userAgent lets a server tell probes from traffic, as by the kubelet's kube-probe/1.36.
const userAgent = "kube-probe/evenkeel-lab"

// Network asks over the network, with a new connection each time as the kubelet does.
type Network struct{}

// Check does what the probe of pod's container says. An error is a failure of the probe.
func (Network) Check(ctx context.Context, pod *corev1.Pod, probe *corev1.Probe) error {
	switch {
	case probe.GRPC != nil:
		return checkGRPC(ctx, pod, probe.GRPC)
	case probe.HTTPGet != nil:
		return Get(ctx, pod, probe.HTTPGet)
	default:
		return errors.New("a probe must be grpc or httpGet")
	}
}

func checkGRPC(ctx context.Context, pod *corev1.Pod, action *corev1.GRPCAction) error {
	address := net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(action.Port)))
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the kubelet knows no other
		grpc.WithUserAgent(userAgent), grpc.WithDisableServiceConfig(), grpc.WithNoProxy())
	if err != nil {
		return fmt.Errorf("grpc %s: %w", address, err)
	}
	defer func() { _ = conn.Close() }()
	request := &healthv1.HealthCheckRequest{}
	if action.Service != nil {
		request.Service = *action.Service
	}
	answer, err := healthv1.NewHealthClient(conn).Check(ctx, request)
	if err != nil {
		return fmt.Errorf("grpc %s: service %q: %s: %s", address, request.Service, status.Code(err), status.Convert(err).Message())
	}
	if answer.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		return fmt.Errorf("grpc %s: service %q is %s", address, request.Service, answer.GetStatus())
	}

	return nil
}

// Get does an HTTP GET on pod. Any status from 200 to 399 is good; a redirect is followed on the same host and
// otherwise good by itself (so do the kubelet's probes).
func Get(ctx context.Context, pod *corev1.Pod, action *corev1.HTTPGetAction) error {
	target, err := targetOf(pod, action)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return fmt.Errorf("httpGet: %w", err)
	}
	request.Header.Set("User-Agent", userAgent)
	for _, header := range action.HTTPHeaders {
		if http.CanonicalHeaderKey(header.Name) == "Host" {
			request.Host = header.Value
		}
		request.Header.Add(header.Name, header.Value)
	}
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // pods answer by address
		},
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			if to.URL.Hostname() != target.Hostname() {
				return http.ErrUseLastResponse
			}
			if len(via) >= 10 {
				return errors.New("stopped after 10 redirects")
			}

			return nil
		},
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("httpGet: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode < http.StatusOK || response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("httpGet %s: %s", target, response.Status)
	}

	return nil
}

func targetOf(pod *corev1.Pod, action *corev1.HTTPGetAction) (*url.URL, error) {
	port, err := portOf(pod, action.Port)
	if err != nil {
		return nil, fmt.Errorf("httpGet: %w", err)
	}
	target, err := url.Parse(action.Path)
	if err != nil {
		return nil, fmt.Errorf("httpGet: path %q: %w", action.Path, err)
	}
	target.Scheme = "http"
	if action.Scheme == corev1.URISchemeHTTPS {
		target.Scheme = "https"
	}
	host := action.Host
	if host == "" {
		host = pod.Status.PodIP
	}
	target.Host = net.JoinHostPort(host, strconv.Itoa(port))

	return target, nil
}

func portOf(pod *corev1.Pod, port intstr.IntOrString) (int, error) {
	if port.Type == intstr.Int {
		return port.IntValue(), nil
	}
	for _, container := range pod.Spec.Containers {
		for _, each := range container.Ports {
			if each.Name == port.StrVal {
				return int(each.ContainerPort), nil
			}
		}
	}
	// The API accepts a number as a string, too.
	if number, err := strconv.Atoi(port.StrVal); err == nil {
		return number, nil
	}

	return 0, fmt.Errorf("port %q: no container has a port of that name", port.StrVal)
}
