package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"beat/streams/bus"
	"beat/streams/bus/natsd/natstest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/nats-io/nats.go/jetstream"
)

// suiteSubscriber creates a topic's stream and consumer when it is first used,
// which in beat is Ensure's work.
type suiteSubscriber struct {
	*bus.Subscriber
	js      jetstream.JetStream
	group   string
	pending int
}

func (s suiteSubscriber) SubscribeInitialize(topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := s.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: topic, Subjects: []string{topic}, AllowAtomicPublish: true, Duplicates: 2 * time.Minute,
	})
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return err
	}
	_, err = s.js.CreateConsumer(ctx, topic, jetstream.ConsumerConfig{
		Durable: s.group, AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: s.pending, MaxDeliver: -1,
	})
	if errors.Is(err, jetstream.ErrConsumerExists) {
		return nil
	}
	return err
}

func (s suiteSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if err := s.SubscribeInitialize(topic); err != nil {
		return nil, err
	}
	return s.Subscriber.Subscribe(ctx, topic)
}

func suite(t *testing.T, features tests.Features, pending int) {
	_, _, js := natstest.New(t)
	group := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		lg := slog.New(slog.DiscardHandler)
		return bus.NewPublisher(lg, js, bus.PublisherConfig{}), suiteSubscriber{
			Subscriber: bus.NewSubscriber(lg, js, bus.SubscriberConfig{
				Consumer:     func(topic string) bus.Consumer { return bus.Consumer{Stream: topic, Durable: group} },
				MaxInFlight:  100,
				Backoff:      []time.Duration{0},
				CloseTimeout: time.Second,
			}),
			js: js, group: group, pending: pending,
		}
	}
	t.Run("suite", func(t *testing.T) {
		tests.TestPubSub(t, features, func(t *testing.T) (message.Publisher, message.Subscriber) {
			return group(t, "all")
		}, group)
	})
}

func TestWatermillSuite(t *testing.T) {
	suite(t, tests.Features{ConsumerGroups: true, Persistent: true}, 1000)
}

// With one message in flight over all subscribers the order is total.
func TestWatermillSuiteInOrder(t *testing.T) {
	suite(t, tests.Features{ConsumerGroups: true, Persistent: true, GuaranteedOrder: true, ForceShort: true}, 1)
}
