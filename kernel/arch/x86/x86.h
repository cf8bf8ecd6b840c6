// SPDX-License-Identifier: BSD-2-Clause
// What the files of kernel/arch/x86 share. Per-core state is in struct arch_cpu and belongs to its
// core; everything else here is written once at boot by the boot core.
#pragma once
#include "kernel/arch/x86/acpi.h"
#include "kernel/arch/x86/hvm.h"
#include "kernel/arch/x86/insn.h"
#include "kernel/arch/x86/memmap.h"
#include "kernel/arch/x86/mce.h"
#include "kernel/arch/x86/regs.h"
#include "kernel/arch/x86/vuln.h"

// Address map of the kernel's half (docs/memory-map.md).
#define KERNEL_VMA  0xffffffff80000000ull
#define SCREEN_WINDOW 0xffffff0000000000ull // what the loader left on, if it did
#define DIRECT_MAP  0xffff800000000000ull // here + hpa: what the kernel owns, never executable
#define CPU_WINDOW  0xffffff8000000000ull // a struct cpu_block for each core
#define CPU_BLOCK_SIZE 0x20000ull
#define IDT_WINDOW  0xffffff8001000000ull // 64 KB: the IDT, then zeros
#define MMIO_WINDOW 0xffffff8001200000ull // uncached pages of devices
#define WINDOWS     0xffffff8001400000ull // frames that a core zeroes or copies: window.c

extern struct features features;
// Bochs has that OEM id and, unlike QEMU, no hypervisor bit.
static inline bool is_bochs(void) { return acpi.emulator && !(features.leaf1_ecx >> 31); }
extern bool page_1g; // 1 GB pages are used: the CPU has them for the host and for guests
extern bool fsgsbase; // ring 3 can write its FS and GS base
extern bool bus_lock_exits; // a guest exits behind each bus lock
extern bool apic_accesses; // the CPU does those to a guest's local APIC, by a page there

// Everything of one core, page by page. A core that was tried and is not used keeps its block.
struct cpu_block {
    uint64_t gdt[512];
    uint8_t zeros[15 * PAGE_SIZE]; // what GDTR's limit also covers: one page, read-only
    uint8_t guard[PAGE_SIZE];      // not mapped
    uint8_t stack[KERNEL_STACK_SIZE];
    uint8_t ist[5][IST_STACK_SIZE];
    struct tss tss __attribute__((aligned(PAGE_SIZE)));
    struct cpu cpu __attribute__((aligned(PAGE_SIZE)));
} __attribute__((aligned(CPU_BLOCK_SIZE)));
#define cpu_blocks ((struct cpu_block *)CPU_WINDOW)
_Static_assert(sizeof(struct cpu_block) == CPU_BLOCK_SIZE, "fits its part of the window");
_Static_assert(CPU_WINDOW + CPU_MAX * CPU_BLOCK_SIZE <= IDT_WINDOW, "the window has all cores");

// main.c
// What stands behind `key` where a word of the kernel's options begins so; NULL: none does.
const char *boot_option(const char *key);

// barrier.c
void barrier_enter(struct cpu *cpu, const struct process *p);

// cpu.c
// This core's GDT, TSS, IDT, control registers, MSRs. It is core `id` if it may be used.
void cpu_init(struct cpu_block *b, uint32_t id);
void cpu_plain_branches(void);                // where retpolines are not needed
// Boot core, before paging_init() makes the text read-only: a CALL or JMP `to` is what is there.
void cpu_patch(void *at, uint8_t opcode, const void *to);
bool cpu_check_features(void);                // boot core: prints what is missing
bool cpu_has(bool has, const char *name, const char *why); // `has`; if not, that is said
const char *cpu_compare_features(void);       // other cores: NULL, or what differs
void cpu_reload_tr(struct cpu *cpu);
// The first half of a descriptor; in the second stand the upper bits of `base`.
static inline uint64_t tss_descriptor(uint64_t base, uint64_t limit)
{
    return (limit & 0xffff) | (base & 0xffffff) << 16 | 0x89ull << 40 | (limit >> 16 & 15) << 48 |
           (base >> 24 & 0xff) << 56;
}

// paging.c
void paging_init(uint64_t ram_end, struct ram_range frame_table, const struct boot_screen *screen);
void paging_map_cpu(struct cpu_block *b); // its pages, all zeros
// A guest has fetched from `gpa`: OK, it may; ERR_RANGE, it may not; ERR_QUOTA, ERR_MEMORY.
enum status paging_split(struct space *s, uint64_t gpa);
void paging_share_kernel(uint64_t *root); // the kernel's half, into the root of other tables
void *paging_map_mmio(struct hpa hpa); // boot only; to the end of that page

// apic.c
void apic_choose(void); // boot core, before paging_init(): how the registers are written
void apic_pic_off(void);
void apic_init_cpu(void);
void apic_calibrate(void);
uint32_t apic_timer_count(void);
void apic_quiet(void); // this core is not used: it takes nothing but an NMI sent to it
void apic_init_io(void);
void apic_eoi(void);
PATCHED void apic_icr(uint32_t apic_id, uint32_t command);

// clock.c
void clock_calibrate(void);
void clock_delay_us(uint64_t us);
extern uint64_t clock_tsc_hz, clock_calibration;
extern const char *clock_source; // whose figure it is
// A timer's count at that time of the TSC. Of four readings the one with the least time around it:
// an SMI in one does not count. port: of the timer; 0: the local APIC's.
struct reading { uint64_t tsc; uint32_t value; };
struct reading clock_reading(uint16_t port);

// smp.c
void smp_start(void);
extern uint32_t ap_apic_base; // bits of IA32_APIC_BASE that a core sets first

// fpu.c. All components of XCR0, standard format.
static inline void fpu_save(void *area)
{
    __asm__ volatile("xsaveopt64 (%0)" : : "r"(area), "a"(-1), "d"(-1) : "memory");
}

static inline void fpu_restore(const void *area)
{
    __asm__ volatile("xrstor64 (%0)" : : "r"(area), "a"(-1), "d"(-1) : "memory");
}

static inline void fninit(void) { __asm__ volatile("fninit"); }
extern const struct fpu fpu_initial;
void fpu_init_cpu(void);
void fpu_use_thread(struct cpu *cpu, struct thread *t);
void fpu_use_vcpu(struct cpu *cpu, struct vcpu *v);
bool fpu_trapped(struct cpu *cpu);
void fpu_leave(struct cpu *cpu, const void *owner);

// cr3.c: whose tables CR3 names
enum status cr3_make(struct space *s);     // takes a PCID; kernel_lock held, as for the next
void cr3_unmake(struct space *s);
void cr3_use(struct cpu *cpu, struct space *s);
void cr3_flush(struct space *s);
#define CR3_NO_FLUSH (1ull << 63)
extern uint64_t cr3_kernel;                // the kernel's own tables, once CR4 is set
static inline void cr3_leave(void) { write_cr3(cr3_kernel); }

// context.c: what of a vCPU stays in the core's registers while its own VMM runs
void context_load(struct cpu *cpu, struct vcpu *v);
void context_load_dr(const struct vcpu *v);
void context_leave(struct cpu *cpu);
void context_tsc_aux(struct cpu *cpu, uint64_t value);
void context_syscall_msrs(struct cpu *cpu, const struct vcpu *v);

// screen.c
void screen_init(const struct boot_screen *s);
void screen_at(char *where);         // it is mapped there now; NULL: nowhere
void screen_put(const char *text, size_t bytes);

// serial.c, power.c, trap.c
void serial_init(void);
void trap_dispatch(uint8_t vector);
void trap_tell_later(void);          // from NMI and #MC: this core's `trouble` goes to the log
void power_init(void);               // once the kernel has its own page tables
bool power_stops_me(void);           // another core stops the machine: this one must halt

extern uint64_t boot_tsc;
NORETURN void resume_syscall(struct regs *regs);
NORETURN void resume_trap(struct regs *regs);
NORETURN void cpu_idle(uint64_t stack_top);
void rsb_fill(void);
void syscall_entry(void);
void sysexit_of_call_from(void);
void sysexit_of_resume_from(void);
void iret_for_sysexit(void);
