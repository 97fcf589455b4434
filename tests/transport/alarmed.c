/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alarmed PATH
 *
 * stat(PATH), while a timer goes off every 10 ms and its handler runs. Prints
 * how many times it did; 0 if stat succeeded, else 1.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/time.h>

static volatile sig_atomic_t alarms;

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval every = { { 0, 10000 }, { 0, 10000 } }, never = { 0 };
	struct stat st;
	int r;

	if (argc != 2 || sigaction(SIGALRM, &sa, NULL) || setitimer(ITIMER_REAL, &every, NULL))
		return 2;
	r = stat(argv[1], &st);
	if (r)
		perror(argv[1]);
	(void)setitimer(ITIMER_REAL, &never, NULL);
	printf("%d\n", (int)alarms);
	return r != 0;
}
