package ratelimit

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"beat/streams/servers/servertest"

	"github.com/redis/go-redis/v9"
)

// hammerEnv holds the orders of a process that hammers.
const hammerEnv = "BEAT_TEST_HAMMER"

type orders struct {
	Redis, Prefix, URL string
	Spec               Spec
	Workers            int
	For                time.Duration
}

type tally struct{ Called, Refused int }

// hammer calls URL as often as the limit lets it, from several workers. It says
// that it is ready, begins when it is told to, and tells what it did.
func hammer(text string, in io.Reader, out io.Writer) int {
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	at, err := redis.ParseURL(o.Redis)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l := New(redis.NewClient(at), o.Prefix)
	hc := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: o.Workers}}
	call := func(path string) error {
		res, err := hc.Get(o.URL + path)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close() //nolint:errcheck // read to its end
		}
		return err
	}
	var warm sync.WaitGroup
	failed := make(chan error, 2*o.Workers)
	for range o.Workers {
		warm.Go(func() {
			if err := call("/warm"); err != nil {
				failed <- err
			}
			if _, err := l.Take(context.Background(), Spec{"warm", 1000, 60, true}); err != nil {
				failed <- err
			}
		})
	}
	warm.Wait()
	fmt.Fprintln(out, "ready")
	if _, err := bufio.NewReader(in).ReadString('\n'); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.For)
	defer cancel()
	var mu sync.Mutex
	var sum tally
	var all sync.WaitGroup
	for range o.Workers {
		all.Go(func() {
			var did tally
			for ctx.Err() == nil {
				got, err := l.Take(ctx, o.Spec)
				if err != nil {
					break
				}
				if got.OK {
					did.Called++
					if err := call("/"); err != nil {
						failed <- err
						break
					}
					continue
				}
				did.Refused++
				select {
				case <-ctx.Done():
				case <-time.After(got.Wait):
				}
			}
			mu.Lock()
			sum.Called += did.Called
			sum.Refused += did.Refused
			mu.Unlock()
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		fmt.Fprintln(os.Stderr, err)
		return 1
	default:
	}
	if err := json.NewEncoder(out).Encode(sum); err != nil {
		return 1
	}
	return 0
}

// Eight processes hammer one limit. A server keeps the times at which their
// calls arrive: no interval as long as the window holds more than the limit, and
// nearly all of the limit is used. BEAT_SOAK=1 runs it at full length.
func TestEightProcessesKeepOneLimit(t *testing.T) {
	spec, length := Spec{Name: "hammered", Requests: 100, Seconds: 5, Sliding: true}, 20*time.Second
	if os.Getenv("BEAT_SOAK") == "1" {
		spec.Seconds, length = 30, 2*time.Minute
	}
	var mu sync.Mutex
	var arrivals []time.Time
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		now := time.Now()
		if r.URL.Path == "/warm" {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		arrivals = append(arrivals, now)
	}))
	defer srv.Close()
	o, err := json.Marshal(orders{
		Redis: servertest.Redis(t), Prefix: servertest.RedisPrefix(t), URL: srv.URL, Spec: spec, Workers: 4, For: length,
	})
	if err != nil {
		t.Fatal(err)
	}
	type child struct {
		cmd *exec.Cmd
		in  io.WriteCloser
		out *bufio.Reader
	}
	var children []child
	for range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), hammerEnv+"="+string(o), "GOMAXPROCS=2")
		cmd.Stderr = t.Output()
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill() //nolint:errcheck // may be gone
			cmd.Wait()         //nolint:errcheck // likewise
		})
		children = append(children, child{cmd, in, bufio.NewReader(out)})
	}
	for _, c := range children {
		if line, err := c.out.ReadString('\n'); err != nil || line != "ready\n" {
			t.Fatalf("a process is not ready: %q, %v", line, err)
		}
	}
	for _, c := range children {
		if _, err := io.WriteString(c.in, "go\n"); err != nil {
			t.Fatal(err)
		}
	}
	var sum tally
	for _, c := range children {
		var one tally
		if err := json.NewDecoder(c.out).Decode(&one); err != nil {
			t.Fatal(err)
		}
		sum.Called += one.Called
		sum.Refused += one.Refused
	}
	mu.Lock()
	defer mu.Unlock()
	slices.SortFunc(arrivals, time.Time.Compare)
	least := time.Duration(1<<63 - 1)
	for i := spec.Requests; i < len(arrivals); i++ {
		least = min(least, arrivals[i].Sub(arrivals[i-spec.Requests]))
	}
	if least < spec.Window() {
		t.Errorf("%d calls within %v, the limit is %d in %v", spec.Requests+1, least, spec.Requests, spec.Window())
	}
	most := spec.Requests * int(length/spec.Window())
	if len(arrivals) < most*97/100 || len(arrivals) != sum.Called {
		t.Errorf("%d of %d calls arrived, want at least 97 %%; the processes made %d", len(arrivals), most, sum.Called)
	}
	if sum.Refused == 0 {
		t.Error("nothing was refused: the limit was not reached")
	}
	t.Logf("%d of %d calls, %d refused, %d calls never within less than %v", len(arrivals), most, sum.Refused, spec.Requests+1, least)
}
