// A TCP link with a fixed round trip in front of a server: Toxiproxy with a toxic that counts in microseconds, because
// its own "latency" counts in milliseconds and its timers wake late.
//
//	link -to HOST:PORT [-round-trip 500us] [-listen 127.0.0.1:0]
//
// It prints the address it listens on and runs until it is told to stop.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// What one direction of the link takes. Set before the first connection and never changed.
var oneWay time.Duration

// Distance holds every chunk back until it has been under way for oneWay.
type Distance struct{}

func (*Distance) GetBufferSize() int { return 1024 }

func (*Distance) Pipe(stub *toxics.ToxicStub) {
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-stub.Input:
			if chunk == nil {
				stub.Close()
				return
			}
			wait(chunk)
			stub.Output <- chunk
		}
	}
}

// The kernel's timer is good to some fifty microseconds; Go's may be a millisecond late when nothing else runs.
func wait(chunk *stream.StreamChunk) {
	if left := oneWay - time.Since(chunk.Timestamp); left > 0 {
		pause := syscall.NsecToTimespec(left.Nanoseconds())
		_ = syscall.Nanosleep(&pause, nil)
	}
}

func run() error {
	to := flag.String("to", "", "the server, HOST:PORT")
	listen := flag.String("listen", "127.0.0.1:0", "where to listen")
	roundTrip := flag.Duration("round-trip", 500*time.Microsecond, "what the link adds to each round trip")
	flag.Parse()
	if *to == "" || *roundTrip < 0 {
		flag.Usage()
		os.Exit(2)
	}
	oneWay = *roundTrip / 2
	toxics.Register("distance", new(Distance))

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, "link", *listen, *to)
	if err := server.Collection.Add(proxy, true); err != nil {
		return err
	}
	for _, direction := range []string{"upstream", "downstream"} {
		toxic := fmt.Sprintf(`{"name":"%s","type":"distance","stream":"%s"}`, direction, direction)
		if _, err := proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			return err
		}
	}
	fmt.Println(proxy.Listen)
	<-stop
	return server.Shutdown()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "link:", err)
		os.Exit(1)
	}
}
