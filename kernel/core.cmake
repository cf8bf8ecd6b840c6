# SPDX-License-Identifier: BSD-2-Clause
# The portable kernel's sources, for the kernel itself and for the unit tests on the fake
# architecture. Paths from the repository's root.
set(KERNEL_CORE_SOURCES
    kernel/core/audit.c
    kernel/core/boot.c
    kernel/core/cpu.c
    kernel/core/destroy.c
    kernel/core/event.c
    kernel/core/frames.c
    kernel/core/grace.c
    kernel/core/handle.c
    kernel/core/ioports.c
    kernel/core/irq.c
    kernel/core/log.c
    kernel/core/memory.c
    kernel/core/object.c
    kernel/core/op.c
    kernel/core/process.c
    kernel/core/sc.c
    kernel/core/sched.c
    kernel/core/space.c
    kernel/core/syscall.c
    kernel/core/system.c
    kernel/core/thread.c
    kernel/core/timer.c
    kernel/core/vcpu.c
    kernel/core/vm.c
    kernel/lib/printf.c)
# The kernel has no C library to take these from; the tests do.
set(KERNEL_STRING_SOURCES kernel/lib/string.c)
