// The job of the test of log4j2-k2p*.properties: java -cp LOG4J Emit.java EVENTS
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.apache.logging.log4j.ThreadContext;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.appender.CountingNoOpAppender;

public class Emit {
    public static void main(String[] arguments) {
        Logger log = LogManager.getLogger("org.example.Load");
        ThreadContext.put("step", "load \"x\"");
        log.info("plain {}", 1);
        log.error("quote \" newline \n tab \t back \\ ä \u0001",
                new IllegalStateException("bad \"row\"\nsecond", new RuntimeException("cause")));
        int events = Integer.parseInt(arguments[0]);
        for (int i = 0; i < events; i++) {
            log.warn("event {}", i);
        }
        LoggerContext context = (LoggerContext) LogManager.getContext(false);
        CountingNoOpAppender dropped = context.getConfiguration().getAppender("k2p_dropped");
        LogManager.shutdown();
        System.out.println("dropped=" + dropped.getCount());
    }
}
