package tests

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"keelson/testvm/vm/vmtest"
)

// errLost is returned when redis does not have a write that it acknowledged.
var errLost = errors.New("a write is lost")

// written records how many values of each writer redis has acknowledged.
type written struct {
	seed  uint64
	count [4]atomic.Int64
	wrong atomic.Value // an answer of redis that is no acknowledgement
}

func (w *written) total() (n int) {
	for i := range w.count {
		n += int(w.count[i].Load())
	}
	return n
}

// value returns the nth value of a writer, up to 2 KiB.
func (w *written) value(writer int, n int64) string {
	rng := rand.New(rand.NewPCG(w.seed+uint64(writer), uint64(n)))
	return strconv.FormatInt(n, 10) + strings.Repeat(string(rune('a'+rng.IntN(26))), rng.IntN(2048))
}

func listOf(writer int) string { return "writer" + strconv.Itoa(writer) }

func redisOf(v *vmtest.VM, retries int) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: v.Addr(6379), MaxRetries: retries, MaxRetryBackoff: 50 * time.Millisecond,
		DialTimeout: time.Minute, ReadTimeout: time.Minute, WriteTimeout: time.Minute, DisableIdentity: true})
}

// check checks that redis has every acknowledged value, and at most one more of each
// writer, whose acknowledgement a power cut has prevented.
func (w *written) check(ctx context.Context, v *vmtest.VM) error {
	if wrong := w.wrong.Load(); wrong != nil {
		return fmt.Errorf("redis refused a write: %v", wrong)
	}
	c := redisOf(v, 100)
	defer c.Close()
	for i := range w.count {
		got, err := c.LRange(ctx, listOf(i), 0, -1).Result()
		if err != nil {
			return fmt.Errorf("cannot read the values from redis: %w", err)
		}
		acked := w.count[i].Load()
		if n := int64(len(got)); n < acked || n > acked+1 {
			return fmt.Errorf("%w: redis has %d values of writer %d, %d were acknowledged", errLost, n, i, acked)
		}
		for n, value := range got {
			if want := w.value(i, int64(n)); value != want {
				return fmt.Errorf("%w: value %d of writer %d is %.40q, want %.40q", errLost, n, i, value, want)
			}
		}
		w.count[i].Store(int64(len(got)))
	}
	return nil
}

// load starts the writers; ended waits for their end, which comes when the machine has
// closed their connections.
func (w *written) load(v *vmtest.VM) (ended func()) {
	var writers sync.WaitGroup
	for i := range w.count {
		writers.Go(func() { w.write(v, i) })
	}
	return writers.Wait
}

// more waits until another write is acknowledged.
func (w *written) more(ctx context.Context) {
	for n := w.total(); w.total() == n && w.wrong.Load() == nil && ctx.Err() == nil; {
		time.Sleep(time.Millisecond)
	}
}

// write pushes values until the connection breaks. The acknowledgement of a value is its
// position in the list.
func (w *written) write(v *vmtest.VM, i int) {
	c := redisOf(v, -1)
	defer c.Close()
	for n := w.count[i].Load(); ; n++ {
		got, err := c.RPush(context.Background(), listOf(i), w.value(i, n)).Result()
		if refused := redis.Error(nil); errors.As(err, &refused) || err == nil && got != n+1 {
			w.wrong.Store(fmt.Sprintf("value %d of writer %d: %d, %v", n, i, got, err))
		}
		if err != nil || got != n+1 {
			return
		}
		w.count[i].Store(n + 1)
	}
}
