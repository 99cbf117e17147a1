"""Python's multiprocessing in the rows of ../rows: the same sizes, the same work, the same samples.

Takes one job (JSON) as its argument, writes the outcome to descriptor 3, and exits, as ../measure-main.mjs does.
"""
import json
import multiprocessing
import os
import signal
import statistics
import sys
import time
import zlib
from multiprocessing import shared_memory

MEBIBYTE = 1 << 20
now = time.perf_counter


def square(x):
    return x * x


def byte_length(data):
    return len(data)


def make_bytes(length):
    return b'\x07' * length


def burn(iterations):
    value = 2166136261
    for i in range(iterations):
        value = ((value ^ (i & 255)) * 16777619) & 0xFFFFFFFF
    return value


def burn_many(connection, count, iterations):
    """A process without a pool: says that it is there, waits for the start, works, says that it is done."""
    connection.send('ready')
    connection.recv()
    for _ in range(count):
        burn(iterations)
    connection.send('done')


def all_results(pool, function, arguments):
    return [result.get() for result in [pool.apply_async(function, (argument,)) for argument in arguments]]


def timed(action):
    start = now()
    value = action()
    return now() - start, value


def single_tasks(context, workers, size):
    with context.Pool(workers) as pool:
        count = size['tasks']
        all_results(pool, square, range(count))
        samples = []
        for _ in range(size['repeats']):
            seconds, values = timed(lambda: all_results(pool, square, range(count)))
            assert values == [i * i for i in range(count)]
            samples.append(count / seconds)
        return samples


def round_trip(context, workers, size):
    with context.Pool(workers) as pool:
        for i in range(size['warmUps']):
            pool.apply(square, (i,))
        return [statistics.median(timed(lambda: pool.apply(square, (i,)))[0] for i in range(size['tasks'])) * 1e6]


def map_squares(context, workers, size):
    with context.Pool(workers) as pool:
        items = list(range(size['items']))
        pool.map(square, items)
        samples = []
        for _ in range(size['repeats']):
            seconds, values = timed(lambda: pool.map(square, items))
            assert values == [i * i for i in items]
            samples.append(len(items) / seconds)
        return samples


def argument_1mib(context, workers, size):
    with context.Pool(workers) as pool:
        data = os.urandom(MEBIBYTE)
        assert pool.apply(zlib.crc32, (data,)) == zlib.crc32(data)
        all_results(pool, byte_length, [data] * (workers * 2))
        samples = []
        for _ in range(size['repeats']):
            seconds, values = timed(lambda: all_results(pool, byte_length, [data] * size['tasks']))
            assert set(values) == {MEBIBYTE}
            samples.append(size['tasks'] / seconds)
        return samples


def result_1mib(context, workers, size):
    with context.Pool(workers) as pool:
        all_results(pool, make_bytes, [MEBIBYTE] * (workers * 2))
        samples = []
        for _ in range(size['repeats']):
            seconds, values = timed(lambda: all_results(pool, make_bytes, [MEBIBYTE] * size['tasks']))
            assert {len(value) for value in values} == {MEBIBYTE}
            samples.append(size['tasks'] / seconds)
        return samples


def sum_of_ends(memory):
    total = memory.buf[0] + memory.buf[memory.size - 1]
    memory.close()
    return total


def shared_64mib(context, workers, size):
    memory = shared_memory.SharedMemory(create=True, size=64 * MEBIBYTE)
    try:
        # As sharedArray() does: the system provides the memory before it is used.
        memory.buf[:] = bytes(len(memory.buf))
        memory.buf[0] = 3
        memory.buf[memory.size - 1] = 4
        with context.Pool(workers) as pool:
            all_results(pool, sum_of_ends, [memory] * (workers * 2))
            samples = []
            for _ in range(size['repeats']):
                seconds, values = timed(lambda: all_results(pool, sum_of_ends, [memory] * size['tasks']))
                assert set(values) == {7}
                samples.append(size['tasks'] / seconds)
            return samples
    finally:
        memory.close()
        memory.unlink()


def time_first_result(context, workers):
    start = now()
    pool = context.Pool(workers)
    assert pool.apply(square, (3,)) == 9
    seconds = now() - start
    pool.terminate()
    pool.join()
    return seconds * 1000


def first_result_cold(context, workers, size):
    return [time_first_result(context, workers)]


def first_result(context, workers, size):
    time_first_result(context, workers)
    return [time_first_result(context, workers) for _ in range(size['pools'])]


def cpu_scaling(context, workers, size):
    iterations = 50_000
    for _ in range(5):
        iterations = max(1, int(iterations * size['taskMs'] / 1000 / timed(lambda: burn(iterations))[0]))
    samples = []
    with context.Pool(workers) as pool:
        all_results(pool, burn, [iterations] * (2 * workers))
        for _ in range(size['repeats']):
            bare = [context.Pipe() for _ in range(workers)]
            share = size['tasks'] // workers
            processes = [context.Process(target=burn_many, args=(end, share, iterations)) for _, end in bare]
            for process in processes:
                process.start()
            for connection, _ in bare:
                connection.recv()
            start = now()
            for connection, _ in bare:
                connection.send('go')
            for connection, _ in bare:
                connection.recv()
            bare_seconds = now() - start
            for process in processes:
                process.join()
            pool_seconds, _ = timed(lambda: all_results(pool, burn, [iterations] * size['tasks']))
            samples.append(bare_seconds / pool_seconds)
    return samples


def idle_memory(context, workers, size):
    with context.Pool(workers) as pool:
        all_results(pool, square, range(size['tasks']))
        time.sleep(0.5)
        total = 0
        for worker in multiprocessing.active_children():
            with open(f'/proc/{worker.pid}/smaps_rollup', encoding='ascii') as rollup:
                for line in rollup:
                    if line.startswith(('Private_Clean:', 'Private_Dirty:')):
                        total += int(line.split()[1])
        return [total / 1024 / workers]


MESSAGE = {'t': 1, 'id': 7, 's': 'hello world', 'v': [1, 2.5, 3]}


def put_messages(orders, queue):
    while True:
        for _ in range(orders.get()):
            queue.put(MESSAGE)


def queue_messages(context, workers, size):
    orders = context.Queue()
    queue = context.Queue()
    context.Process(target=put_messages, args=(orders, queue), daemon=True).start()

    def run():
        orders.put(size['messages'])
        for _ in range(size['messages']):
            queue.get()

    run()
    return [size['messages'] / timed(run)[0] for _ in range(size['repeats'])]


def set_and_get(dictionary, orders, finished):
    while True:
        for round_number in range(orders.get()):
            dictionary['key'] = round_number
            dictionary['key']
        finished.put(True)


def manager_dict(clients):
    def measure(context, workers, size):
        with context.Manager() as manager:
            dictionary = manager.dict({'key': 0})
            finished = context.Queue()
            orders = [context.Queue() for _ in range(clients)]
            processes = [
                context.Process(target=set_and_get, args=(dictionary, own, finished), daemon=True) for own in orders
            ]
            for process in processes:
                process.start()

            def run():
                for own in orders:
                    own.put(size['operations'] // 2)
                for _ in range(clients):
                    finished.get()

            run()
            samples = [clients * size['operations'] / timed(run)[0] for _ in range(size['repeats'])]
            for process in processes:
                process.terminate()
            return samples

    return measure


def echo(connection):
    while True:
        connection.send(connection.recv())


def pipe_round_trip(context, workers, size):
    here, there = context.Pipe()
    context.Process(target=echo, args=(there,), daemon=True).start()

    def run():
        here.send(MESSAGE)
        here.recv()

    for _ in range(size['warmUps']):
        run()
    return [statistics.median(timed(run)[0] for _ in range(size['messages'])) * 1e6]


def send_messages(connection):
    while True:
        for _ in range(connection.recv()):
            connection.send(MESSAGE)


def send_bytes(connection):
    data = bytes(1 << 20)
    while True:
        for _ in range(connection.recv()):
            connection.send(data)


def pipe_one_way(sender):
    def measure(context, workers, size):
        here, there = context.Pipe()
        context.Process(target=sender, args=(there,), daemon=True).start()

        def run():
            here.send(size['messages'])
            for _ in range(size['messages']):
                here.recv()

        for _ in range(size.get('warmUps', 1)):
            run()
        return [size['messages'] / timed(run)[0] for _ in range(size['repeats'])]

    return measure


def answer_turns(here, there):
    while True:
        there.acquire()
        here.release()


def lock_hand_over(context, workers, size):
    here, there, turns = context.Semaphore(0), context.Semaphore(0), size['turns']
    context.Process(target=answer_turns, args=(here, there), daemon=True).start()

    def run():
        for _ in range(turns):
            there.release()
            here.acquire()

    run()
    return [timed(run)[0] * 1e6 / (2 * turns) for _ in range(size['repeats'])]


def lock_uncontended(context, workers, size):
    lock = context.Lock()
    samples = []
    for _ in range(size['repeats']):
        start = now()
        for _ in range(size['pairs']):
            lock.acquire()
            lock.release()
        samples.append((now() - start) * 1e9 / size['pairs'])
    return samples


def contend(lock, barrier, pairs, rounds):
    for _ in range(rounds):
        barrier.wait()
        for _ in range(pairs):
            lock.acquire()
            lock.release()
        barrier.wait()


def lock_contended(context, workers, size):
    lock, barrier, rounds = context.Lock(), context.Barrier(3), size['repeats'] + 1
    processes = [context.Process(target=contend, args=(lock, barrier, size['pairs'], rounds)) for _ in range(2)]
    for process in processes:
        process.start()
    samples = []
    for _ in range(rounds):
        barrier.wait()
        start = now()
        barrier.wait()
        samples.append(2 * size['pairs'] / (now() - start) / 1e6)
    for process in processes:
        process.join()
    return samples[1:]


ROWS = {
    'single-tasks': single_tasks,
    'round-trip': round_trip,
    'map-squares': map_squares,
    'argument-1mib': argument_1mib,
    'result-1mib': result_1mib,
    'shared-64mib': shared_64mib,
    'first-result-cold': first_result_cold,
    'first-result': first_result,
    'cpu-scaling': cpu_scaling,
    'idle-memory': idle_memory,
    'queue-messages': queue_messages,
    'queue-batches': queue_messages,
    'pipe-one-way': pipe_one_way(send_messages),
    'pipe-round-trip': pipe_round_trip,
    'pipe-1mib': pipe_one_way(send_bytes),
    'lock-uncontended': lock_uncontended,
    'lock-contended': lock_contended,
    'lock-hand-over': lock_hand_over,
    'manager-1': manager_dict(1),
    'manager-4': manager_dict(4),
    'manager-8': manager_dict(8),
}


def main():
    job = json.loads(sys.argv[1])
    # The runner makes this process the leader of its group and may be killed: then nobody else ends the workers.
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGKILL))
    signal.alarm(job['deadlineMs'] // 1000 + 5)
    try:
        context = multiprocessing.get_context(job['startMethod'])
        outcome = {'samples': ROWS[job['row']](context, job['workers'], job['size'])}
    except Exception as error:
        outcome = {'failure': 'error', 'message': repr(error)}
    with open(3, 'w', encoding='utf8') as file:
        json.dump(outcome, file)


if __name__ == '__main__':
    main()
