// SPDX-License-Identifier: BSD-2-Clause
// What the portable kernel needs of an architecture. kernel/arch/x86 gives the real thing,
// tests/unit/arch a fake one for tests on the host. All run with interrupts off.
#pragma once
#include "kernel/core/boot.h"
#include "kernel/core/vm.h"
#include "arch_inline.h" // this_cpu(): struct cpu of the core that runs this

uint64_t arch_now(void);                   // TSC
uint64_t arch_tsc_hz(void);
// At full precision: with the frequency rounded to MHz a period of 10 ms may be 9.5 ms.
static inline uint64_t us_to_tsc(uint64_t us) { return arch_tsc_hz() * us / 1000000; }
// This core's timer interrupt; UINT64_MAX: none.
void arch_set_deadline(uint64_t tsc, uint64_t now);
void arch_send_ipi(uint32_t core);         // its handler calls cpu_ipi()
// A guest that runs there exits, to look at what waits for it; posted: or, where the CPU takes
// vcpu->pending_edge by itself, it does.
void arch_kick(uint32_t core, bool posted);
void *arch_ptr(struct hpa a);              // of frames that the kernel owns, and of no others
void arch_own(struct hpa base, uint64_t frames); // from now on the kernel owns these
// Any frames, each mapped for this core alone and only for as long as it takes.
void arch_clear(struct hpa base, uint64_t bytes); // whole pages; zeros
void arch_read(void *to, struct hpa from, uint64_t bytes);
void arch_write(struct hpa to, const void *from, uint64_t bytes);

// Page tables; kernel_lock held. All that may be long is done in pieces.
enum status arch_space_init(struct space *s) MUST_CHECK;
bool arch_space_free(struct space *s) MUST_CHECK; // the tables, not what they map; true: all
// Maps a piece of what follows the first *done bytes, which are mapped already; uses the largest
// pages that alignment allows; takes frames for tables by frames_alloc_kernel() and charges them to
// space->payer. On failure *done says how far it came.
enum status arch_map(struct space *s, uint64_t address, struct hpa hpa, uint64_t bytes,
                     uint8_t prot, uint64_t *done) MUST_CHECK;
// Clears a piece of the entries of what arch_map() did, from *at on, which moves; flushes nothing:
// see space.c. True: up to `end`. Tables stay as long as the space: a core may walk them any time.
bool arch_unmap(struct space *s, uint64_t *at, uint64_t end);
// Where `address` leads and with which PROT_*; *left: bytes to the end of that page. False:
// nowhere.
bool arch_walk(struct space *s, uint64_t address, struct hpa *hpa, uint8_t *prot, uint64_t *left);
// For the audit: what is next at or after *cursor (0 first; opaque), which moves behind it: a leaf,
// a table, or some empty entries (no bytes). False at the end. Of a process only what is below
// USER_END. kernel_lock held.
struct audit_item {
    struct hpa frame;
    uint64_t bytes;
    bool table;
    uint64_t address; // where the leaf, or what the table covers, begins
    unsigned empty;   // entries
};
bool arch_space_next(struct space *s, uint64_t *cursor, struct audit_item *item);
// Likewise what the kernel itself reaches.
bool arch_kernel_next(uint64_t *cursor, struct audit_item *item);
// Drops what this core's TLB holds of the space: of a process (it is loaded) or of a VM.
void arch_space_flush(struct space *s);
void arch_space_none(void);                // this core loads the kernel's own tables: no process

void arch_thread_init(struct thread *t, uint64_t entry, uint64_t sp, uint64_t arg);
void arch_thread_set_result(struct thread *t, int64_t rax, uint64_t rdx);
// Makes t's process, ports, stack the core's; then goes to ring 3 or into the guest.
NORETURN void arch_resume_user(struct thread *t);
NORETURN void arch_resume_guest(struct vcpu *v);
void arch_switch_to(struct thread *t);     // before either: address space, I/O permission, TSS
void arch_thread_gone(struct thread *t);   // on its core: nothing of its state stays there
// Fresh stack, interrupts on, halt; handlers end in sched_run().
NORETURN void arch_idle(void);
// Between the pieces of long work: interrupts on for one instruction. A handler that comes may end
// in sched_run() with a fresh stack, as from idle; nothing is lost by not returning.
void arch_interrupt_window(void);

// ERR_RANGE: what its page says of its CPUID cannot be used.
enum status arch_vcpu_init(struct vcpu *v, uint32_t apic_id);
// On its core, not running: its state goes to memory, for another core or for arch_vcpu_free().
void arch_vcpu_leave(struct vcpu *v);
void arch_vcpu_free(struct vcpu *v);       // it has left; any core
enum status arch_vcpu_sregs(struct vcpu *v, bool write);
enum status arch_vcpu_fpu(struct vcpu *v, bool write);
// Does what VM_RUN_* of vcpu_run() say (all checks first). 0: enter the guest; else it returns this
// kind of exit at once.
int64_t arch_vcpu_answer(struct vcpu *v, uint64_t run);
void arch_vcpu_stats(struct vcpu *v, struct vcpu_stats *s);
// MSI address/data as a guest's local APICs decode them: calls vcpu_post and friends.
int64_t arch_vm_msi(struct vm *vm, uint64_t address, uint32_t data, bool level);

void arch_ports_granted(struct process *p); // p->ports has changed
void arch_irq_mask(uint32_t gsi, bool masked);
enum status arch_irq_route(uint32_t gsi, uint32_t core);
// Polled serial, and the screen, until the console process has them.
void arch_log(const char *text, size_t bytes);
size_t arch_log_some(const char *text, size_t bytes); // what the port takes at once; -> how much
void arch_log_at(uint16_t port);           // from now on the serial line's first port
// Powers the machine off, or resets it (SYSTEM_RESET), as far as it can.
NORETURN void arch_off(int status);
// The other cores halt, wherever they are. Of several that call it the first returns.
void arch_stop_others(void);
NORETURN void arch_panic_halt(void);       // ends with status 2

// frames.c. Runs of 4 KB frames; owner: an object id, or FRAME_KERNEL. `align` is in bytes, a power
// of two. Any core; takes its own lock. Contents are not zeroed. A run is freed as it was taken.
#define FRAME_FREE     0u
#define FRAME_POOL     0xfffffffdu // free, in the kernel's pool
#define FRAME_KERNEL   0xfffffffeu
#define FRAME_RESERVED 0xffffffffu
#define FRAMES_MARKED  64u // a longer run has its owner at its ends only, until frames_set_owner()
struct frame { uint32_t owner, next, prev, length; };
// at: of a struct frame for each frame, which the kernel maps; all become FRAME_RESERVED.
void frames_init(struct hpa at, uint64_t frames);
void frames_add(struct hpa base, uint64_t frames);   // usable RAM
bool frames_alloc(uint64_t frames, uint64_t align, uint32_t owner, struct hpa *out) MUST_CHECK;
void frames_free(struct hpa base, uint64_t frames);
// Frames that the kernel maps; kernel_lock held, or nothing else runs yet.
bool frames_alloc_kernel(uint64_t frames, uint32_t owner, struct hpa *out) MUST_CHECK;
void frames_free_kernel(struct hpa base, uint64_t frames);
void frames_set_owner(struct hpa base, uint64_t frames, uint32_t owner); // for pieces of a run
uint32_t frames_owner(struct hpa frame);
uint64_t frames_run(struct hpa frame, uint64_t most); // how many in a row have the same owner
uint64_t frames_count_free(void);
uint64_t frames_count_total(void);

// log.c
// END: straight to the port and without a lock, for a core that stops the machine. Of a process,
// false: the log is full.
enum log_from { LOG_KERNEL, LOG_PROCESS, LOG_END };
bool log_line(enum log_from from, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define log_print(...) ((void)log_line(LOG_KERNEL, __VA_ARGS__))
#define log_raw(...)   ((void)log_line(LOG_END, __VA_ARGS__))
#define LOG_PIECE 256u
// A record of that process, at most LOG_PIECE bytes. False: the log is full.
bool log_record(uint32_t process, const char *text, size_t bytes);
// The manager's text, as much as the serial line takes at once. -> how much
size_t log_text(const char *text, size_t bytes);
size_t log_read(char *to, size_t bytes);   // what has not been read yet
void log_detach(bool off);                 // a process shows the log, or does so no more
void log_taken(struct process *p);         // this one does, until it ends

// What the arch calls. System calls: the six arguments; the result goes to RAX and RDX. The
// caller's registers are saved before, for a call may not return: then the saved ones hold the
// result. The entry code takes a number modulo SYSCALL_SLOTS.
struct syscall_result { int64_t status; uint64_t value; };
typedef struct syscall_result syscall_fn(uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
                                         uint64_t a4, uint64_t a5);
extern syscall_fn *const syscall_table[];
// Boot core, all cores up and idle in sched_run(): makes the manager and runs it.
NORETURN void core_start(struct boot_facts *facts);
