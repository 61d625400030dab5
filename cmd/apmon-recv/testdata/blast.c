// Sends or receives datagrams on loopback at full speed, for TestLongFullSpeed.
//
//	blast send PORT SECONDS FILE SIZE OFFSET   sends the datagrams of SIZE bytes in FILE in turn;
//	                                           OFFSET is that of the sequence number
//	blast receive PORT                         receives until none has come for a second
//
// Both print the number of datagrams, the seconds from the first to the last, and the CPU time in
// seconds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static int finish(long n, double began, double ended) {
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	double cpu = u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
	printf("%ld %f %f\n", n, ended - began, cpu);
	return 0;
}

static int fail(const char *what) {
	perror(what);
	return 1;
}

static int blast(int fd, double seconds, const char *file, long size, long offset) {
	static unsigned char all[1 << 20];
	FILE *f = fopen(file, "rb");
	if (!f)
		return fail(file);
	long datagrams = fread(all, 1, sizeof all, f) / size;
	double began = now(), t = began;
	long n = 0;
	while (datagrams > 0) {
		for (long i = 0; i < datagrams; i++) {
			unsigned char *d = all + i * size;
			uint32_t number = htonl(1 + n / datagrams);
			memcpy(d + offset, &number, 4);
			if (send(fd, d, size, 0) != size)
				return fail("send");
			n++;
		}
		if ((t = now()) - began > seconds)
			break;
	}
	return finish(n, began, t);
}

static int count(int fd) {
	enum { batch = 32 };
	static unsigned char buffer[batch][65536];
	static struct sockaddr_in from[batch];
	static struct iovec vectors[batch];
	static struct mmsghdr messages[batch];
	struct timeval idle = {1, 0};
	int size = 16 << 20;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	printf("ready\n");
	fflush(stdout);
	long n = 0;
	double began = 0, ended = 0;
	for (;;) {
		for (int i = 0; i < batch; i++) {
			vectors[i].iov_base = buffer[i];
			vectors[i].iov_len = sizeof buffer[i];
			messages[i].msg_hdr.msg_iov = &vectors[i];
			messages[i].msg_hdr.msg_iovlen = 1;
			messages[i].msg_hdr.msg_name = &from[i];
			messages[i].msg_hdr.msg_namelen = sizeof from[i];
		}
		int got = recvmmsg(fd, messages, batch, MSG_WAITFORONE, NULL);
		if (got <= 0)
			break;
		ended = now();
		if (n == 0) {
			began = ended;
			setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
		}
		n += got;
	}
	return finish(n, began, ended);
}

int main(int argc, char **argv) {
	if (argc < 3)
		return 2;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2])), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0)
		return fail("socket");
	if (!strcmp(argv[1], "send") && argc == 7) {
		if (connect(fd, (struct sockaddr *)&a, sizeof a))
			return fail("connect");
		return blast(fd, atof(argv[3]), argv[4], atol(argv[5]), atol(argv[6]));
	}
	if (bind(fd, (struct sockaddr *)&a, sizeof a))
		return fail("bind");
	return count(fd);
}
