package load

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	rngv1 "github.com/evenkeel/evenkeel/proto/rng/v1"
)

// refusingServer speaks just enough HTTP/2 to refuse the first stream of the
// connection, which gRPC may then repeat by itself, and to answer the others.
func refusingServer(conn net.Conn) error {
	defer conn.Close()
	in := bufio.NewReader(conn)
	if _, err := io.ReadFull(in, make([]byte, len(http2.ClientPreface))); err != nil {
		return err
	}
	framer := http2.NewFramer(conn, in)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	message, err := proto.Marshal(&rngv1.RollResponse{Values: []int64{3}})
	if err != nil {
		return err
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	headers := func(fields ...string) []byte {
		block.Reset()
		for i := 0; i < len(fields); i += 2 {
			_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}

		return bytes.Clone(block.Bytes())
	}
	streams := 0
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				err = framer.WritePing(true, frame.Data)
			}
		case *http2.MetaHeadersFrame:
			if streams++; streams == 1 {
				err = framer.WriteRSTStream(frame.StreamID, http2.ErrCodeRefusedStream)

				break
			}
			id := frame.StreamID
			err = errors.Join(
				framer.WriteHeaders(http2.HeadersFrameParam{
					StreamID: id, EndHeaders: true,
					BlockFragment: headers(":status", "200", "content-type", "application/grpc", "x-served-by", "rng-raw"),
				}),
				framer.WriteData(id, false, append([]byte{0, 0, 0, 0, byte(len(message))}, message...)),
				framer.WriteHeaders(http2.HeadersFrameParam{
					StreamID: id, EndHeaders: true, EndStream: true, BlockFragment: headers("grpc-status", "0"),
				}))
		}
		if err != nil {
			return err
		}
	}
}

func TestTransparentRetriesAreCounted(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if err := refusingServer(conn); !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
			t.Logf("the server ended with %v", err)
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	r := record(t, listener.Addr().String(), "")
	r.roll(t, 5, 10*time.Second)
	r.end()
	_ = r.conn.Close()

	totals := r.Totals()
	if totals.RPCs != 5 || totals.Failed != 0 || totals.Attempts != 6 || totals.FailedAttempts != 1 || totals.TransparentRetries != 1 {
		t.Errorf("%+v", totals)
	}
	var ok int64
	for _, p := range totals.Pods {
		if p.Name == "rng-raw" {
			ok += p.RPCs
		}
	}
	if ok != 5 {
		t.Errorf("pods: %+v", totals.Pods)
	}
}
