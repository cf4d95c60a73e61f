package kubelettest

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
)

// ServeVariable is the variable that, in a pod's environment, makes the test binary a server instead (see [Serve]).
// Its value is how the server behaves: "well", "deaf" to SIGTERM, or "badly": it says why and exits with code 3.
const ServeVariable = "KUBELETTEST_SERVE"

// Env is the environment of a pod whose container is the test binary as a server.
func Env(behaviour string) []corev1.EnvVar {
	return []corev1.EnvVar{
		{Name: ServeVariable, Value: behaviour},
		{Name: "GORACE", Value: "atexit_sleep_ms=0"}, // or -race makes each exit a second longer
	}
}

// Port is where the server listens, for gRPC health checks.
const Port = 8081

// Serve is for the beginning of TestMain: in a process that is meant to be a server, it is one and exits.
func Serve() {
	behaviour, ok := os.LookupEnv(ServeVariable)
	if !ok {
		return
	}
	if err := serve(behaviour); err != nil {
		fmt.Println("error:", err)
		os.Exit(3)
	}
	os.Exit(0)
}

func serve(behaviour string) error {
	if behaviour == "badly" {
		return fmt.Errorf("no luck today")
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	say("started")

	listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", os.Getenv("BIND_ADDRESS"), Port))
	if err != nil {
		return err
	}
	checker := health.NewServer()
	server := grpc.NewServer()
	healthv1.RegisterHealthServer(server, checker)
	go func() {
		for range signals {
			say("SIGTERM")
			if behaviour == "deaf" {
				continue
			}
			checker.Shutdown()
			server.GracefulStop()
		}
	}()
	if err := server.Serve(listener); err != nil {
		return err
	}
	say("bye")

	return nil
}

// say prints what happens, and when.
func say(what string) { fmt.Println(time.Now().Format(time.RFC3339Nano), what) }
