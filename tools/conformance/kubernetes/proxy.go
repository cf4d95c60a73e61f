package kubernetes

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
)

// proxy is what a run's resolver reaches the API server by. It speaks TLS and HTTP/2, as an API server does.
type proxy struct {
	door      *door
	watches   *watches
	server    *http.Server
	transport *http.Transport
	authority []byte // certificate, in PEM
	serving   sync.WaitGroup

	mu      sync.Mutex
	revoked map[string]bool // tokens
	oldest  uint64          // the version before which all have expired
}

// newProxy makes a proxy before the API server of a configuration, whose credentials it leaves out: the resolver's own
// must do.
func newProxy(config *rest.Config) (*proxy, error) {
	target, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("API server %q: %w", config.Host, err)
	}
	trust, err := rest.TLSConfigFor(rest.AnonymousClientConfig(config))
	if err != nil {
		return nil, fmt.Errorf("API server %q: %w", config.Host, err)
	}
	own, err := identity()
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	p := &proxy{
		watches:   newWatches(),
		transport: &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true, Proxy: config.Proxy, DialContext: config.Dial},
		authority: pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: own.Certificate[1]}),
		revoked:   map[string]bool{},
	}
	if p.door, err = newDoor(); err != nil {
		return nil, err
	}
	reverse := &httputil.ReverseProxy{
		Transport: p.transport,
		Rewrite: func(request *httputil.ProxyRequest) {
			p.spoil(request.Out)
			request.SetURL(target)
		},
		ModifyResponse: attach,
		// There is no answer, so the client gets none.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
	p.server = &http.Server{ //nolint:gosec // its clients are in this process
		Handler:   p.follow(reverse),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{own}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	p.serving.Go(func() { _ = p.server.ServeTLS(p.door, "", "") }) // until close

	return p, nil
}

// identity is the same for all proxies of the process: keys take long to make.
var identity = sync.OnceValues(func() (tls.Certificate, error) {
	chain, key, err := cert.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	if err != nil {
		return tls.Certificate{}, err
	}

	return tls.X509KeyPair(chain, key) // the second of the chain is the authority
})

// close cuts what is open.
func (p *proxy) close() error {
	err := p.server.Close() // and the door
	p.serving.Wait()
	p.transport.CloseIdleConnections()

	return err
}

// config is for clients of the proxy.
func (p *proxy) config() *rest.Config {
	return &rest.Config{Host: "https://" + p.door.address, TLSClientConfig: rest.TLSClientConfig{CAData: p.authority}}
}

type streamKey struct{}

// follow keeps track of watches.
func (p *proxy) follow(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isWatch(r) {
			s := p.watches.begin(beginsWithState(r))
			defer s.leave()
			r = r.WithContext(context.WithValue(r.Context(), streamKey{}, s))
		}
		next.ServeHTTP(w, r)
	})
}

func attach(response *http.Response) error {
	s, ok := response.Request.Context().Value(streamKey{}).(*stream)
	if !ok || response.StatusCode != http.StatusOK {
		return nil
	}
	if err := s.attach(response.Body, response.Header.Get("Content-Type")); err != nil {
		return err
	}
	response.Body = s

	return nil
}

// spoil makes a request one that the API server refuses, if it must be refused.
func (p *proxy) spoil(request *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if token, ok := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer "); ok && p.revoked[token] {
		request.Header.Set("Authorization", "Bearer revoked")
	}
	query := request.URL.Query()
	version, err := strconv.ParseUint(query.Get("resourceVersion"), 10, 64)
	// Version 0 is any. With its state to begin with, a watch can start from any version that is not in the future.
	if err == nil && 0 < version && version < p.oldest && isWatch(request) && !beginsWithState(request) {
		query.Set("resourceVersion", beforeHistory)
		request.URL.RawQuery = query.Encode()
	}
}

// beforeHistory is a version that an API server can no longer know: etcd gives it before there is any object, so that
// whatever a server has listed when it starts is later. The exception is a server that started with an empty etcd, until
// it forgets its first events: a minute or two, and some hundred changes. TestAKilledServer, which is run first, leaves
// one that started later.
const beforeHistory = "1"

func (p *proxy) revoke(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked[token] = true
}

func (p *proxy) expire(before uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.oldest = before
}

func isWatch(request *http.Request) bool {
	// The second is how watches were asked for before Kubernetes 1.11, and kuberesolver still does.
	return options(request).Watch || strings.HasPrefix(request.URL.Path, "/api/v1/watch/")
}

func beginsWithState(request *http.Request) bool {
	wanted := options(request).SendInitialEvents

	return wanted != nil && *wanted
}

func options(request *http.Request) metav1.ListOptions {
	var options metav1.ListOptions
	query := request.URL.Query()
	_ = metav1.Convert_url_Values_To_v1_ListOptions(&query, &options, nil) // the API server refuses what is wrong

	return options
}
